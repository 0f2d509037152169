package hub

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/test/vm"
)

// machinePatience bounds a failure: machines of another processor are slow.
const machinePatience = 20 * time.Minute

// machine is a node of its own kernel.
type machine struct {
	name   string
	arch   vm.Arch
	series string
	ahead  time.Duration // of its clock
	output testutil.Log
}

// What a machine does: it is a node, and runs the program that is to be denied
// until it has been denied, and was let run again. Its own lines begin with "--".
const machineScript = `
taskwatch serve --source bpf --hub "$HUB" --hub-token /node.token --hub-key /team.pub --hub-dir /run/node --hub-label role=vm >/run/log 2>&1 &
node=$!
trap 'echo "-- the log of the node"; cat /run/log' EXIT
/denied/true || exit 3
echo -- runs
while /denied/true; do kill -0 $node || exit 4; sleep 0.2; done 2>/dev/null
/denied/true
[ $? = 126 ] || exit 5
echo -- denied
/bin/true || exit 6
until /denied/true; do kill -0 $node || exit 7; sleep 0.2; done 2>/dev/null
echo -- runs again
kill $node
wait $node
`

// Three machines, one with another processor, each with the BPF source of its own
// kernel: one insmod has all of them deny a program, one question sees each denial,
// and one rmmod ends it.
func TestMachines(t *testing.T) {
	testutil.Nightly(t) // three machines on an emulated processor
	machines := []*machine{
		{name: "old", arch: vm.AMD64, series: "6.1"},
		{name: "new", arch: vm.AMD64, series: "6.12"},
		{name: "arm", arch: vm.ARM64, series: "6.12"},
	}
	dir, taskwatch, end := fleetOf(t, machines)

	var seen testutil.Log
	watch := operate(dir, taskwatch, "fleet", "watch", "--where", `kind == "exec-failed"`)
	watch.Stdout, watch.Stderr = &seen, &seen
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceValue(func() error { return errors.Join(watch.Process.Signal(syscall.SIGINT), watch.Wait()) })
	t.Cleanup(func() { _ = stop() })
	says := func(what string) func() bool {
		return func() bool {
			for _, m := range machines {
				found := false
				for line := range strings.Lines(seen.String()) {
					found = found || strings.Contains(line, `"node":"`+m.name+`"`) && strings.Contains(line, what)
				}
				if !found {
					return false
				}
			}
			return true
		}
	}
	inTime(t, "all machines answer", machines, says(`"event":"start"`))

	t.Log(command(t, dir, taskwatch, "fleet", "insmod", "--key", "team.key", "--wait", "--timeout", machinePatience.String(), "execguard", "prefix=/denied/"))
	for _, m := range machines {
		inTime(t, m.name+" denies the program", machines, func() bool { return strings.Contains(m.output.String(), "-- denied\n") })
	}
	inTime(t, "each denial is seen", machines, says(`/denied/true`))
	loaded := command(t, dir, taskwatch, "fleet", "lsmod")
	t.Logf("what runs:\n%s", loaded)
	if !strings.Contains(loaded, "execguard") {
		t.Errorf("execguard is not among what runs:\n%s", loaded)
	}
	command(t, dir, taskwatch, "fleet", "rmmod", "--key", "team.key", "execguard")
	for _, m := range machines {
		inTime(t, m.name+" lets the program run again", machines, func() bool { return strings.Contains(m.output.String(), "-- runs again\n") })
	}
	if err := stop(); err != nil {
		t.Errorf("fleet watch: %v\n%s", err, seen.String())
	}
	end()
}

// The clock of a node is two days ahead: it refuses an entry that is valid for a day,
// says so, and does not do it; it does what is valid for longer.
func TestClockOfNodeIsAhead(t *testing.T) {
	testutil.Nightly(t) // a machine with a clock of its own
	m := &machine{name: "ahead", arch: vm.HostArch, series: "6.12", ahead: 48 * time.Hour}
	machines := []*machine{m}
	dir, taskwatch, end := fleetOf(t, machines)
	insmod := []string{"fleet", "insmod", "--key", "team.key", "--wait", "--timeout", machinePatience.String(), "execguard", "prefix=/denied/"}
	out, err := operate(dir, taskwatch, append(insmod, "--valid", "24h")...).CombinedOutput()
	const reason = "execguard: refused on 1 node: the entry has expired, at "
	if err == nil || !strings.Contains(string(out), reason) || !strings.Contains(string(out), "ahead (") {
		t.Errorf("an entry for a day ends with %v, and says\n%s", err, out)
	}
	if loaded := command(t, dir, taskwatch, "fleet", "lsmod"); !strings.Contains(loaded, reason) {
		t.Errorf("lsmod shows\n%s", loaded)
	}
	if audit := command(t, dir, taskwatch, "fleet", "audit"); !strings.Contains(audit, "node ahead: module execguard, generation 0: refused: the entry has expired, at ") {
		t.Errorf("the audit trail is\n%s", audit)
	}
	if strings.Contains(m.output.String(), "-- denied\n") {
		t.Error("what was refused was done")
	}
	command(t, dir, taskwatch, insmod...)
	inTime(t, "the node does what is valid for longer", machines, func() bool { return strings.Contains(m.output.String(), "-- denied\n") })
	command(t, dir, taskwatch, "fleet", "rmmod", "--key", "team.key", "execguard")
	end()
}

// fleetOf boots machines that are the nodes of a hub, and returns the directory of an
// operator who has a key and is a loader, its program, and what waits until the
// machines have ended.
func fleetOf(t *testing.T, machines []*machine) (dir, taskwatch string, end func()) {
	t.Helper()
	dir = t.TempDir()
	h := &running{dir: filepath.Join(dir, "hub"), listen: "127.0.0.1:0", hosts: []string{"10.0.2.2"}}
	h.begin(t)
	testutil.RequireTool(t, "minisign")
	command(t, dir, "minisign", "-G", "-W", "-p", "team.pub", "-s", "team.key")
	taskwatch = buildTaskwatch(t, runtime.GOARCH)
	end = bootAll(t, h, dir, machines, map[vm.Arch]string{vm.HostArch: taskwatch})
	loader := h.token(t, fleet.Loader, "team")
	nodes := command(t, dir, taskwatch, "fleet", "nodes", "--hub", h.URL(), "--hub-token", loader)
	inTime(t, "all machines are nodes", machines, func() bool {
		nodes = command(t, dir, taskwatch, "fleet", "nodes")
		return strings.Count(nodes, " up ") == len(machines)
	})
	t.Logf("the nodes:\n%s", nodes)
	return dir, taskwatch, end
}

// bootAll boots the machines with programs, those that there are and others that it
// builds, and returns what waits until they have ended.
func bootAll(t *testing.T, h *running, dir string, machines []*machine, programs map[vm.Arch]string) (end func()) {
	t.Helper()
	address := "tls://" + strings.Replace(strings.TrimPrefix(h.URL(), "tls://"), "127.0.0.1", "10.0.2.2", 1)
	var cfgs []vm.Config
	for _, m := range machines {
		kernel, err := vm.FindKernel(t.Context(), m.arch, m.series)
		if err != nil {
			t.Fatal(err)
		}
		if programs[m.arch] == "" {
			programs[m.arch] = buildTaskwatch(t, string(m.arch))
		}
		cfgs = append(cfgs, vm.Config{
			Kernel: kernel, Cmdline: vm.CmdlineBPF, Network: true, CPUs: 1, Timeout: machinePatience, Output: &m.output,
			Files: []vm.File{
				{Guest: "/usr/bin/taskwatch", Host: programs[m.arch], Mode: 0o755},
				{Guest: "/node.token", Host: h.token(t, fleet.Node, m.name)},
				{Guest: "/team.pub", Host: filepath.Join(dir, "team.pub")},
			},
			Setup: fmt.Sprintf("hostname %s; date -s @%d; mkdir /denied; cp /bin/busybox /denied/true", m.name, time.Now().Add(m.ahead).Unix()),
			Cmd:   []string{"sh", "-c", machineScript}, Env: []string{"HUB=" + address},
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		results, err := vm.RunTogether(ctx, cfgs)
		if ctx.Err() != nil {
			return // the test has failed
		}
		if err != nil {
			t.Error(err)
		}
		for i, r := range results {
			if r.ExitCode != 0 || len(r.Warnings) > 0 || err != nil {
				t.Errorf("%s ends with %d, warnings %q\n%s\n%s", machines[i].name, r.ExitCode, r.Warnings, r.Output, r.Console)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		ended.Wait()
	})
	return ended.Wait
}

// inTime waits for what machines do.
func inTime(t *testing.T, what string, machines []*machine, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(machinePatience); !ok(); time.Sleep(100 * time.Millisecond) {
		ended := slices.ContainsFunc(machines, func(m *machine) bool { return strings.Contains(m.output.String(), "-- the log of the node") })
		if ended && !ok() || time.Now().After(end) {
			for _, m := range machines {
				t.Logf("%s:\n%s", m.name, m.output.String())
			}
			t.Fatalf("it does not happen that %s", what)
		}
	}
}
