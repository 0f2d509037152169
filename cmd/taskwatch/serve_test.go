package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// server is a 'taskwatch serve' that runs.
type server struct {
	cmd    *exec.Cmd
	socket string
	log    screen
}

// startServe starts one and waits until it serves; not with -short, for that takes
// most of the time of many a test.
func startServe(t testing.TB, socket string, env []string, args ...string) *server {
	t.Helper()
	testutil.Long(t)
	s := &server{cmd: cmd(t, append([]string{"serve", "--socket", socket}, args...)...), socket: socket}
	s.cmd.Env = append(os.Environ(), env...)
	s.begin(t)
	return s
}

// begin starts it, and waits until it serves.
func (s *server) begin(t testing.TB) {
	t.Helper()
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil { // the test has failed
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", s.log.String())
		}
	})
	s.serves(t)
}

// serves waits until it serves.
func (s *server) serves(t testing.TB) {
	t.Helper()
	eventually(t, "taskwatch serves", func() bool {
		if state(s.cmd.Process.Pid) == 'Z' {
			t.Fatalf("%q ended: %s", s.cmd.Args, s.log.String())
		}
		// Not by connecting: the connections would wait for the daemon to begin,
		// and then be more than a user may have.
		return strings.Contains(s.log.String(), "serving")
	})
}

// stop ends it as a service manager does.
func (s *server) stop(t testing.TB) {
	t.Helper()
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
}

// end is stop outside of a test.
func (s *server) end() error {
	if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
		return err
	}
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("serve: %w: %s", err, s.log.String())
	}
	if _, err := os.Lstat(s.socket); !os.IsNotExist(err) {
		return fmt.Errorf("serve: the socket is still there: %v", err)
	}
	return nil
}

// tw runs a command that talks to the daemon.
func (s *server) tw(t testing.TB, args ...string) result {
	t.Helper()
	return tw(t, append([]string{args[0], "--socket", s.socket}, args[1:]...)...)
}

// must runs one that has to succeed.
func (s *server) must(t testing.TB, args ...string) string {
	t.Helper()
	r := s.tw(t, args...)
	if r.status != 0 || r.stderr != "" {
		t.Fatalf("%q: %+v", args, r)
	}
	return r.stdout
}

// table returns the lines of lsmod by module, their columns joined by a space.
func (s *server) table(t testing.TB) map[string]string {
	t.Helper()
	rows := map[string]string{}
	for i, line := range strings.Split(strings.TrimSpace(s.must(t, "lsmod")), "\n") {
		f := strings.Fields(line)
		if i > 0 {
			rows[f[0]] = strings.Join(f[1:], " ")
		} else if line != strings.TrimRight(line, " ") || len(f) != 13 {
			t.Errorf("the head is %q", line)
		}
	}
	return rows
}

const countModule = `
#include "task_watchers.h"
module_param(uid, int, -1);
MODULE_PARM_DESC(uid, "whose");
__u64 execs;
MODULE_GLOBAL(execs);
static int count(unsigned long val, struct task_struct *tsk)
{
	if (uid == -1 || task_uid(tsk) == uid)
		__sync_fetch_and_add(&execs, 1);
	return 0;
}
task_watcher_func(exec, count);
MODULE_DESCRIPTION("counts execs");
MODULE_LICENSE("GPL");
`

// The way of a user: insmod, lsmod, modinfo, rmmod, with modules of both kinds.
func TestServe(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	object, wasm := buildBoth(t, "count", countModule)
	s := startServe(t, filepath.Join(t.TempDir(), "s"), nil)
	if got := s.must(t, "insmod", object, fmt.Sprintf("uid=%d", stranger)); got != "" {
		t.Errorf("insmod says %q", got)
	}
	s.must(t, "insmod", "--name", "sandboxed", wasm, fmt.Sprintf("uid=%d", stranger))
	load(t, 4)
	eventually(t, "both have counted", func() bool {
		return strings.Contains(s.must(t, "modinfo", "count"), "global:        execs = 5 (__u64)\n") &&
			strings.Contains(s.must(t, "modinfo", "sandboxed"), "global:        execs = 5 (u64)\n")
	})
	info := s.must(t, "modinfo", "count")
	for _, want := range []string{
		"name:          count\n", "kind:          kernel\n", "state:         live\n", "description:   counts execs\n", "license:       GPL\n",
		"watcher:       exec: count (", "param:         uid = 34571 (int, default -1): whose\n",
	} {
		if !strings.Contains(info, want) {
			t.Errorf("modinfo lacks %q:\n%s", want, info)
		}
	}
	rows := s.table(t)
	if len(rows) != 2 || !strings.HasPrefix(rows["count"], "kernel exec 1 ") || !strings.HasPrefix(rows["sandboxed"], "wasm exec 1 ") ||
		!strings.HasSuffix(rows["count"], " live") || !strings.HasSuffix(rows["sandboxed"], " live") {
		t.Errorf("lsmod: %q", rows)
	}
	var list []struct {
		Name       string
		References int
		Calls      *uint64
		MeanNS     *uint64 `json:"mean_ns"`
	}
	if err := json.Unmarshal([]byte(s.must(t, "lsmod", "-f", "json")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Name != "count" || list[0].References != 1 || list[0].Calls == nil || *list[0].Calls < 5 || list[0].MeanNS == nil {
		t.Errorf("lsmod -f json: %+v", list)
	}
	var loaded struct {
		Params  []struct{ Value int }
		Globals []struct{ Value uint64 }
	}
	if err := json.Unmarshal([]byte(s.must(t, "modinfo", "-f", "json", "count")), &loaded); err != nil ||
		len(loaded.Params) != 1 || loaded.Params[0].Value != stranger || len(loaded.Globals) != 1 || loaded.Globals[0].Value != 5 {
		t.Errorf("modinfo -f json: %+v, %v", loaded, err)
	}

	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"insmod", object}, `load module "count": another module of that name is registered; unload it first`},
		{[]string{"insmod", "--name", "x", object, "uid=many"}, "uid=many"},
		{[]string{"insmod", object + ".none"}, "no such file or directory; 'taskwatch module build' makes one"},
		{[]string{"rmmod", "none", "neither"}, "taskwatch: unload module \"none\": not registered; 'taskwatch lsmod' lists what is\ntaskwatch: unload module \"neither\""},
		{[]string{"modinfo", "none"}, "there is no file none, no stock module of that name, and no such module: read module \"none\": not registered"},
	} {
		if r := s.tw(t, c.args...); r.status != exitFailed || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%q: %+v, want %q", c.args, r, c.says)
		}
	}
	if r := tw(t, "__complete", "rmmod", "--socket", s.socket, ""); !strings.HasPrefix(r.stdout, "count\nsandboxed\n") {
		t.Errorf("completion offers %q", r.stdout)
	}
	s.must(t, "rmmod", "count", "sandboxed")
	if rows := s.table(t); len(rows) != 0 {
		t.Errorf("lsmod: %q", rows)
	}
	s.stop(t)
	r := tw(t, "lsmod", "--socket", s.socket)
	if want := "taskwatch: no daemon serves " + s.socket + "; start one with 'taskwatch serve'\n"; r.status != exitFailed || r.stderr != want {
		t.Errorf("without a daemon: %+v, want %q", r, want)
	}
}

// After kill -9 the next daemon comes up as if nothing had been, and the
// kernel has let go of the modules.
func TestServeAfterAKill(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	object := buildModule(t, "count", countModule)
	socket := filepath.Join(t.TempDir(), "s")
	s := startServe(t, socket, nil)
	s.must(t, "insmod", object)
	second := tw(t, "serve", "--socket", socket)
	if want := fmt.Sprintf("another daemon serves this socket (pid %d); end it, or choose another socket", s.cmd.Process.Pid); second.status != exitFailed || !strings.Contains(second.stderr, want) {
		t.Errorf("a second daemon: %+v, want %q", second, want)
	}
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.cmd.Wait()
	if r := s.tw(t, "lsmod"); r.status != exitFailed || !strings.Contains(r.stderr, "no daemon serves "+socket) {
		t.Errorf("after the kill: %+v", r)
	}
	again := startServe(t, socket, nil)
	if rows := again.table(t); len(rows) != 0 {
		t.Errorf("lsmod: %q", rows)
	}
	again.must(t, "insmod", object)
	again.stop(t)
	if left, err := os.ReadDir(filepath.Dir(socket)); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The configuration is read again at SIGHUP: modules are unloaded, replaced and
// loaded, and the others go on with what they have counted. A broken one is
// reported, and the rest run.
func TestServeReloads(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	object, wasm := buildBoth(t, "count", countModule)
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.o")
	if err := os.WriteFile(broken, []byte("\x7fELF nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "taskwatch.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	entry := func(name, file string, more string) string {
		return fmt.Sprintf("[[module]]\nname = %q\nfile = %q\n%s\n", name, file, more)
	}
	write("log = \"json\"\n" + entry("stays", object, fmt.Sprintf("params = { uid = %d }", stranger)) + entry("broken", broken, "") +
		entry("changes", wasm, "params = { uid = 1 }") + entry("goes", object, ""))
	s := startServe(t, filepath.Join(dir, "s"), nil, "--config", config)
	eventually(t, "the modules are loaded", func() bool { return len(s.table(t)) == 3 })
	for _, line := range strings.Split(strings.TrimSpace(s.log.String()), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log is not JSON: %s", line)
		}
	}
	if !strings.Contains(s.log.String(), `"module":"broken"`) || !strings.Contains(s.log.String(), "malformed ELF object") {
		t.Error("the log does not tell of the broken module")
	}
	s.must(t, "insmod", "--name", "mine", wasm)
	load(t, 2)

	hup := func(says string, times int) {
		t.Helper()
		if err := s.cmd.Process.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the configuration was read again", func() bool { return strings.Count(s.log.String(), says) >= times })
	}
	write("metrics = \"127.0.0.1:0\"\nlog = \"json\"\n" + entry("stays", object, fmt.Sprintf("params = { uid = %d }", stranger)) + entry("changes", wasm, "params = { uid = 2 }") + entry("comes", object, ""))
	hup("SIGHUP: the configuration was read again", 1)
	if !strings.Contains(s.log.String(), `takes a restart","keys":"metrics"`) {
		t.Error("the log does not say that the metrics take a restart")
	}
	rows := s.table(t)
	for _, name := range []string{"stays", "changes", "comes", "mine"} {
		if !strings.HasSuffix(rows[name], " live") {
			t.Errorf("%s: %q", name, rows[name])
		}
	}
	if len(rows) != 4 {
		t.Errorf("lsmod: %q", rows)
	}
	if info := s.must(t, "modinfo", "stays"); !strings.Contains(info, "execs = 3 ") {
		t.Errorf("what has stayed has lost its count:\n%s", info)
	}
	if info := s.must(t, "modinfo", "changes"); !strings.Contains(info, "uid = 2 ") {
		t.Errorf("what has changed has not:\n%s", info)
	}

	// What cannot be loaded does not cost the module that runs.
	write("log = \"json\"\n" + entry("stays", object, "params = { nonsense = 1 }") + entry("changes", broken, "") + entry("comes", object, ""))
	hup("SIGHUP: not all modules are as the configuration wants them", 1)
	if got := s.table(t); len(got) != 4 {
		t.Errorf("lsmod: %q", got)
	}
	if info := s.must(t, "modinfo", "stays"); !strings.Contains(info, "execs = 3 ") {
		t.Errorf("what was to be replaced by what cannot be loaded has lost its count:\n%s", info)
	}

	// A configuration that cannot be read changes nothing.
	write("[[module]]\nfil = 1\n")
	hup("everything stays as it is", 1)
	if got := s.table(t); len(got) != 4 {
		t.Errorf("lsmod: %q", got)
	}
	s.stop(t)
}

// A service manager hears that the daemon is ready, lives, reloads and stops.
func TestServeNotifies(t *testing.T) {
	testutil.Root(t)
	dir := t.TempDir()
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(dir, "notify")})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	config := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(config, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	hear := func(want string) {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		for { // the watchdog may be heard in between
			n, err := manager.Read(b)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			got := string(b[:n])
			if strings.HasPrefix(got, want) {
				return
			}
			if got != "WATCHDOG=1" {
				t.Fatalf("heard %q, want %s", got, want)
			}
		}
	}
	s := startServe(t, filepath.Join(dir, "s"), []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "notify"), "WATCHDOG_USEC=1000000"}, "--config", config)
	hear("READY=1")
	hear("WATCHDOG=1")
	hear("WATCHDOG=1")
	if err := s.cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	hear("RELOADING=1\nMONOTONIC_USEC=")
	hear("READY=1")
	s.stop(t)
	hear("STOPPING=1")
}

// systemd finds nothing wrong with the unit, and the daemon can do its work
// with the capabilities that it leaves.
func TestUnit(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	analyze := testutil.RequireTool(t, "systemd-analyze")
	setpriv := testutil.RequireTool(t, "setpriv")
	text, err := os.ReadFile("../../daemon/systemd/taskwatch.service")
	if err != nil {
		t.Fatal(err)
	}
	const program = "/usr/bin/taskwatch"
	if !strings.Contains(string(text), "ExecStart="+program+" serve ") {
		t.Fatal("the unit does not start taskwatch serve")
	}
	unit := filepath.Join(t.TempDir(), "taskwatch.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), program, binary(t))), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}

	// --threshold fails beyond ten times the exposure.
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=38", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	config, err := os.ReadFile("../../daemon/systemd/taskwatch.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), " --config /etc/taskwatch/taskwatch.toml\n") {
		t.Error("the unit does not name the configuration that the packages install")
	}

	_, caps, _ := strings.Cut(string(text), "\nCapabilityBoundingSet=")
	caps, _, _ = strings.Cut(caps, "\n")
	set := "-all"
	for _, name := range strings.Fields(caps) {
		set += ",+" + strings.ToLower(strings.TrimPrefix(name, "CAP_"))
	}
	object, _ := buildBoth(t, "count", countModule)
	socket := filepath.Join(t.TempDir(), "s")
	installed := filepath.Join(t.TempDir(), "taskwatch.toml")
	if err := os.WriteFile(installed, config, 0o644); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: cmd(t), socket: socket}
	s.cmd.Path, s.cmd.Args = setpriv, []string{"setpriv", "--bounding-set", set, "--no-new-privs", binary(t), "serve", "--config", installed, "--socket", socket, "--group", "65534"}
	s.begin(t)
	eventually(t, "it has the source bpf", func() bool { return strings.Contains(s.log.String(), "source=bpf") })
	eventually(t, "it answers", func() bool { return s.tw(t, "lsmod").status == 0 })
	s.must(t, "insmod", object, fmt.Sprintf("uid=%d", stranger))
	load(t, 1)
	if info := s.must(t, "modinfo", "count"); !strings.Contains(info, "execs = 2 ") {
		t.Errorf("%s\n%s", info, s.log.String())
	}
	s.stop(t)
}

// The configuration that the packages install says nothing, and with its
// comments taken away everything that there is.
func TestInstalledConfiguration(t *testing.T) {
	const name = "../../daemon/systemd/taskwatch.toml"
	testutil.Require(t, testutil.NeedsSource(name))
	f, err := daemon.ReadFile(name)
	if err != nil || !reflect.DeepEqual(f, &daemon.File{}) {
		t.Errorf("as installed: %+v, %v", f, err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all := filepath.Join(t.TempDir(), "all.toml")
	if err := os.WriteFile(all, regexp.MustCompile(`(?m)^#(\S)`).ReplaceAll(text, []byte("$1")), 0o644); err != nil {
		t.Fatal(err)
	}
	if f, err = daemon.ReadFile(all); err != nil || len(f.Modules) != 1 || len(f.Logs) != 2 || f.OTLP == nil || f.Hub == nil {
		t.Fatalf("without comments: %+v, %v", f, err)
	}
	for _, part := range []any{*f, f.Trust, *f.OTLP, *f.Hub, f.Logs[0], f.Modules[0]} {
		v := reflect.ValueOf(part)
		for i := range v.NumField() {
			if key := v.Type().Field(i).Tag.Get("toml"); !strings.Contains(string(text), key) {
				t.Errorf("it does not show %s", key)
			}
		}
	}
}

// What is wrong with the flags or the configuration is said before anything is
// done.
func TestServeRejects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"--log", "xml"}, 2, `--log "xml": unknown format; choose text or json`},
		{[]string{"--source", "oracle"}, 1, `unknown source "oracle"; choose one of auto, bpf, connector`},
		{[]string{"--group", "no-such-group"}, 1, `there is no group "no-such-group"; 'groupadd --system no-such-group' makes one`},
		{[]string{"--metrics", "0.0.0.0:1"}, 1, "not on the loopback interface"},
		{[]string{"--config", filepath.Join(dir, "none.toml")}, 1, "no such file or directory"},
		{[]string{"--config", file("socket = ")}, 1, "c.toml:1: "},
		{[]string{"--config", file("colour = 1\n")}, 1, `c.toml: unknown key "colour"`},
		{[]string{"--config", file("[[module]]\nfile = 1\n")}, 1, "c.toml: line 2 (last key \"module.file\"): incompatible types"},
		{[]string{"--config", file("[[module]]\nname = \"x\"\n")}, 1, `module "x" of the configuration has no file`},
		{[]string{"--config", file("[[module]]\nfile = \"a b.o\"\n")}, 1, "1 to 32 letters"},
		{[]string{"--config", file("[[module]]\nfile = \"a.o\"\n[[module]]\nfile = \"b/a.o\"\n")}, 1, `module "a" is twice in the configuration`},
		{[]string{"--config", file("[[module]]\nfile = \"a.o\"\nparams = { x = [1] }\n")}, 1, "parameter x is a "},
		{[]string{"--config", file("log = \"xml\"\n")}, 1, "choose text or json"},
		{[]string{"--config", file("[hub]\ntoken = \"t\"\n")}, 1, "[hub] has no address"},
		{[]string{"--config", file("[hub]\naddress = \"tls://h:1\"\n")}, 2, "or with keys in [hub]"},
		{[]string{"--config", file("[hub]\naddress = \"tls://h:1\"\nlabels = { arch = \"x\" }\n")}, 2, "each node has a fact of that name"},
		{[]string{"--config", file("[hub]\naddress = \"tls://h:1\"\nkeys = [\"none.pub\"]\n")}, 1, "/none.pub: no such file"},
		{[]string{"--socket", filepath.Join(dir, strings.Repeat("x", 100))}, 1, "and may have 107"},
		{[]string{"--socket", "/proc/x/s"}, 1, "there is no directory /proc/x; create it, or choose another path"},
		{[]string{"now"}, 2, ""},
	} {
		r := tw(t, append([]string{"serve", "--socket", filepath.Join(dir, "s")}, c.args...)...)
		if r.status != c.status || !strings.Contains(r.stderr, c.says) || strings.Contains(r.stderr, "goroutine") {
			t.Errorf("%q: %+v, want status %d and %q", c.args, r, c.status, c.says)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Without root there is the connector, and modules in the sandbox.
func TestServeWithoutRoot(t *testing.T) {
	testutil.Root(t) // to become somebody else
	needsClang(t)
	const user = 34580 // not the stranger, whose execs are counted
	object, built := buildBoth(t, "count", countModule)
	dir, err := os.MkdirTemp("", "taskwatch-serve-") // which the user can reach
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	wasm := filepath.Join(dir, "count.wasm")
	if err := os.Rename(built, wasm); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd: cmd(t, "serve", "--socket", filepath.Join(dir, "s")), socket: filepath.Join(dir, "s")}
	s.cmd.Stderr, s.cmd.Dir = &s.log, "/"
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
			t.Logf("the daemon's log:\n%s", s.log.String())
		}
	}()
	eventually(t, "it answers", func() bool {
		if state(s.cmd.Process.Pid) == 'Z' {
			t.Fatal(s.log.String())
		}
		return s.tw(t, "lsmod").status == 0
	})
	if r := s.tw(t, "insmod", object); r.status != exitFailed || !strings.Contains(r.stderr, "it runs in the kernel, which needs the source bpf: bpf: ") {
		t.Errorf("a kernel module: %+v", r)
	}
	// The user that the daemon runs as may load, too.
	as := func(args ...string) {
		t.Helper()
		c := cmd(t, append([]string{args[0], "--socket", s.socket}, args[1:]...)...)
		c.Dir, c.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		if r := finish(t, c); r.status != 0 {
			t.Fatalf("%s by the daemon's user: %+v", args, r)
		}
	}
	// The tests of other packages run storms beside. Then events are lost,
	// because a user cannot enlarge the connector's buffer, or come when it is
	// too late to ask /proc for the ids: the load is repeated until the machine
	// has the time to count one exactly.
	counted := false
	eventually(t, "a load is counted exactly", func() bool {
		as("insmod", wasm, fmt.Sprintf("uid=%d", stranger))
		load(t, 3)
		for end := time.Now().Add(5 * time.Second); !counted && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			counted = strings.Contains(s.must(t, "modinfo", "count"), "execs = 4 ")
		}
		as("rmmod", "count")
		return counted
	})
	s.stop(t)
}

// A client for which nothing can be attached gets the error. The daemon, its
// modules and the other clients go on, and the next one gets its events where
// there is room again.
func TestServeWithoutDescriptors(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	_, wasm := buildBoth(t, "count", countModule)
	s := startServe(t, filepath.Join(t.TempDir(), "s"), nil, "--source", "bpf")
	s.must(t, "insmod", wasm, fmt.Sprintf("uid=%d", stranger))
	pid := s.cmd.Process.Pid
	limit := func(n uint64) (old uint64) {
		t.Helper()
		var was unix.Rlimit
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &was); err != nil {
			t.Fatal(err)
		}
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: was.Max}, nil); err != nil {
			t.Fatal(err)
		}
		return was.Cur
	}
	c := daemon.NewClient(s.socket)
	defer c.Close()
	events := func(kinds ...string) (string, error) {
		list, err := c.List(t.Context(), connect.NewRequest(&api.ListRequest{})) // so that there is a connection
		if err != nil || len(list.Msg.Modules) != 1 {
			t.Fatal(list, err)
		}
		defer limit(limit(3))
		r, err := c.Events(t.Context(), connect.NewRequest(&api.EventsRequest{Events: kinds}))
		if err != nil {
			return "", err
		}
		defer r.Close()
		r.Receive()
		return r.Msg().GetLines(), r.Err()
	}
	for range 3 {
		if out, err := events("uid", "init", "free", "clone"); err == nil || !strings.Contains(err.Error(), "cannot be observed") || !strings.Contains(err.Error(), "too many open files") {
			t.Fatalf("without descriptors, a client got %q, %v", out, err)
		}
		if out, err := events("exec", "exec-failed"); err == nil || !strings.Contains(err.Error(), ": exec-failed cannot be observed") || !strings.Contains(err.Error(), "too many open files") {
			t.Fatalf("without descriptors, a client of execs that fail got %q, %v", out, err)
		}
	}
	if rows := s.table(t); !strings.HasSuffix(rows["count"], " live") {
		t.Errorf("lsmod: %q", rows)
	}
	r, err := c.Events(t.Context(), connect.NewRequest(&api.EventsRequest{Events: []string{"uid", "init", "free", "clone"}}))
	if err != nil || !r.Receive() {
		t.Fatalf("with descriptors again: %v, %v", err, r.Err())
	}
	r.Close()
	load(t, 1)
	eventually(t, "the module has seen what has happened", func() bool { return strings.Contains(s.must(t, "modinfo", "count"), "execs = 2 ") })
	s.stop(t)
}
