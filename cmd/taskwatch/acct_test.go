package main

import (
	"bytes"
	encoding "encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/sink/acct"
)

// accountOf has what <linux/acct.h> says of a struct acct_v3.
type accountOf struct {
	Flag, Version                      uint8
	TTY                                uint16
	Status, UID, GID, PID, PPID, Begin uint32
	Elapsed                            float32
	User, System, Mem, IO, RW          uint16
	Minor, Major, Swaps                uint16
	Comm                               [16]byte
}

func (a *accountOf) comm() string { return string(bytes.TrimRight(a.Comm[:], "\x00")) }

// expand returns the value of a comp_t.
func expand(n uint16) float64 { return float64(n&0x1fff) * math.Pow(8, float64(n>>13)) }

func accounts(t *testing.T, file string) (list []*accountOf) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(b)%acct.RecordLen != 0 {
		t.Fatalf("%s: %d bytes", file, len(b))
	}
	for len(b) > 0 {
		a := new(accountOf)
		if err := encoding.Read(bytes.NewReader(b[:acct.RecordLen]), encoding.NativeEndian, a); err != nil {
			t.Fatal(err)
		}
		list, b = append(list, a), b[acct.RecordLen:]
	}
	return list
}

// accounted is a script whose processes end one after the other.
const accounted = `
(:; exit 3)
/bin/true
setpriv --reuid 34581 --regid 34582 --clear-groups /bin/sh -c 'exit 7'
sh -c 'kill -9 $$'
sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'
(exec -a other /bin/sleep 0.3)
"$0"
`

// The records are those that the kernel's own accounting has of the same run.
func TestAccountingIsTheKernels(t *testing.T) { eachSourceAlone(t, testAccountingIsTheKernels) }

func testAccountingIsTheKernels(t *testing.T, source string) {
	testutil.Root(t)
	accton, unshare := testutil.RequireTool(t, "accton"), testutil.RequireTool(t, "unshare")
	bash := testutil.RequireTool(t, "bash")
	threads := testutil.BuildC(t, "-static", "-pthread", "testdata/acctthreads.c")
	dir := t.TempDir()
	kernel, ours, events := filepath.Join(dir, "kernel"), filepath.Join(dir, "ours.acct"), filepath.Join(dir, "events.jsonl")
	if err := os.WriteFile(kernel, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Accounting is of a pid namespace: that of the machine stays as it is.
	r := tw(t, "run", "--source", source, "-o", ours, "-o", events, "--", unshare, "--pid", "--fork",
		bash, "-c", accton+" "+kernel+" >/dev/null || exit 99"+accounted+accton+" off >/dev/null", threads)
	if r.status == 99 {
		testutil.Skip(t, "the kernel does no accounting: "+r.stderr, func() bool { return true })
	}
	if r.status != 0 {
		t.Fatalf("%+v", r)
	}
	want, got := accounts(t, kernel), accounts(t, ours)
	// The kernel's begin with accton itself, and end with the second one before its
	// exit; behind that are bash and unshare.
	if want = want[:max(len(want)-1, 0)]; len(want) != 8 || len(got) != len(want)+3 {
		t.Fatalf("%d records, the kernel has %d", len(got), len(want))
	}
	// Somewhere between the exit that we see and the end of the process, the kernel
	// looks at the clock: ptrace stops the task there, for as long as others run.
	exit, end := map[uint32]int64{}, map[uint32]int64{}
	for _, ev := range eventsOf(t, events) {
		switch pid := uint32(ev.Task.PID); {
		case ev.Task.PID != ev.Task.TID:
		case ev.Kind == taskwatch.Exit:
			exit[pid] = ev.MonoNS
		case ev.Kind == taskwatch.Free:
			end[pid] = ev.MonoNS
		}
	}
	pid := map[uint32]uint32{} // in the namespace, of those outside
	for i, w := range want {
		g := got[i]
		near := func(what string, a, b, by float64) {
			t.Helper()
			if math.Abs(a-b) > by {
				t.Errorf("%s: %s is %v, the kernel has %v", w.comm(), what, a, b)
			}
		}
		if g.Flag != w.Flag&^0x02 || g.Version != w.Version || g.TTY != w.TTY || g.Status != w.Status ||
			g.UID != w.UID || g.GID != w.GID || g.Comm != w.Comm {
			t.Errorf("record %d is %+v, the kernel's %+v", i, g, w)
		}
		// The kernel has the ticks that met the task, and we what it ran.
		cpu := expand(w.User) + expand(w.System)
		near("CPU time", expand(g.User)+expand(g.System), cpu, 10+cpu/2)
		if exit[g.PID] == 0 || end[g.PID] < exit[g.PID] {
			t.Fatalf("%s: process %d exits at %d and ends at %d", w.comm(), g.PID, exit[g.PID], end[g.PID])
		}
		near("elapsed time", float64(g.Elapsed), float64(w.Elapsed), 10+float64(end[g.PID]-exit[g.PID])/10e6)
		near("begin", float64(g.Begin), float64(w.Begin), 1)
		near("minor faults", expand(g.Minor), expand(w.Minor), 8)
		near("major faults", expand(g.Major), expand(w.Major), 8)
		if p, known := pid[g.PPID]; known && p != w.PPID {
			t.Errorf("record %d: the parent is %d, before %d", i, w.PPID, p)
		}
		pid[g.PPID] = w.PPID
	}
}

// lastcomm, sa and dump-acct read the file, and show what ran.
func TestAccountingIsRead(t *testing.T) { eachSource(t, testAccountingIsRead) }

func testAccountingIsRead(t *testing.T, source string) {
	lastcomm, sa := testutil.RequireTool(t, "lastcomm"), testutil.RequireTool(t, "sa")
	bash := testutil.RequireTool(t, "bash")
	file := filepath.Join(t.TempDir(), "a.acct")
	run := func(script string, flags ...string) {
		t.Helper()
		if r := tw(t, append(append([]string{"run", "--source", source, "-o", file}, flags...), "--", bash, "-c", script)...); r.status != 0 || strings.Contains(r.stderr, "taskwatch:") {
			t.Fatalf("%+v", r)
		}
	}
	run(`(:; exit 3); /bin/true; sh -c 'kill -9 $$'; :`)
	run(`/bin/true; :`, "--append")
	run(`/bin/true; /bin/false; :`, "--append", "--where", `exit.code == 1`)
	out, err := exec.Command(lastcomm, "-f", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		// COMMAND FLAGS USER TTY TIME secs DATE, the newest first.
		w := strings.Fields(line[:23])
		got = append([]string{strings.Join(w, " ")}, got...)
	}
	want := []string{"bash F", "true", "sh X", "bash", "true", "bash", "false"}
	if os.Geteuid() == 0 {
		user := strings.Fields(string(out))[1]
		if user != "root" && user != "F" {
			t.Errorf("the user is %q:\n%s", user, out)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("lastcomm shows %q, want %q:\n%s", got, want, out)
	}
	out, err = exec.Command(sa, "-a", file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	calls := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if w := strings.Fields(line); len(w) == 6 {
			calls[w[5]] = w[0]
		}
	}
	if fmt.Sprint(calls) != fmt.Sprint(map[string]string{"bash": "2", "bash*": "1", "true": "2", "sh": "1", "false": "1"}) {
		t.Errorf("sa counts %v:\n%s", calls, out)
	}

	if err := os.WriteFile(file, []byte("no records"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := tw(t, "run", "--source", source, "--append", "-o", file, "--", "true"); r.status != 125 || !strings.Contains(r.stderr, "no whole number of records") {
		t.Errorf("behind something else: %+v", r)
	}
}
