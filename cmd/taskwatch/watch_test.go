package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

// watcher is a 'taskwatch watch' that runs.
type watcher struct {
	cmd            *exec.Cmd
	stdout, stderr screen
}

// startWatch starts one and waits until it watches. It runs as root or, with
// a user id, as that user.
func startWatch(t testing.TB, user int, args ...string) *watcher {
	t.Helper()
	c := cmd(t, append([]string{"watch"}, args...)...)
	if user != 0 {
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	}
	return startWatchBy(t, c)
}

// startWatchBy starts one with a command of the caller's; not with -short, as
// startServe.
func startWatchBy(t testing.TB, c *exec.Cmd) *watcher {
	t.Helper()
	testutil.Long(t)
	w := &watcher{cmd: c}
	c.Stdout, c.Stderr = &w.stdout, &w.stderr
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if w.cmd.ProcessState == nil { // the test has failed
			_ = w.cmd.Process.Kill()
			_ = w.cmd.Wait()
		}
	})
	eventually(t, "taskwatch watches: "+strings.Join(c.Args, " "), func() bool {
		if state(w.cmd.Process.Pid) == 'Z' {
			_ = w.cmd.Wait()
			t.Fatalf("%q ended: %s", c.Args, w.stderr.String())
		}
		return strings.Contains(w.stderr.String(), "taskwatch: watching ")
	})
	return w
}

// stop ends it as a user does.
func (w *watcher) stop(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := w.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Wait(); err != nil {
		t.Fatalf("watch: %v: %s", err, w.stderr.String())
	}
}

// stranger is a user id that nothing else on the machine has.
const stranger = 34571

// load runs a shell that forks n children, each of which executes true and
// exits, and returns the shell's pid.
func load(t testing.TB, n int) int {
	t.Helper()
	c := exec.Command("sh", "-c", fmt.Sprintf("i=0; while [ $i -lt %d ]; do /bin/true; i=$((i+1)); done", n))
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	c.Dir = "/"
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("the load: %v: %s", err, out)
	}
	return c.Process.Pid
}

// tallyOf counts the events of a load's n children, and those that a recording of the
// machine says are lost: storms of other packages' tests may fill the buffers. No more
// may be missing of what is wanted of each child.
func tallyOf(t testing.TB, recording string, shell, n int, want taskwatch.Kinds) (got [taskwatch.NumKinds]int) {
	t.Helper()
	missing, lost := 0, 0
	for _, l := range lines(t, strings.NewReader(recording)) {
		if l.Loss != nil {
			if lost += int(l.Loss.Count); l.Loss.Count == 0 {
				t.Error("a loss of unknown size")
			}
		}
		if ev := l.Event; ev != nil && (ev.Task.PPID == shell || ev.Kind == taskwatch.Free && ev.Task.UID[0] == stranger && ev.Task.PID != shell) {
			got[ev.Kind]++
		}
	}
	for _, k := range want.List() {
		if missing += n - got[k]; got[k] > n {
			t.Errorf("%d %s events, want %d", got[k], k, n)
		}
	}
	if missing > lost {
		t.Errorf("%d events %v of %d children are missing, and %d are said to be lost", missing, got, n, lost)
	}
	return got
}

func TestWatchSeesALoadExactly(t *testing.T) {
	testutil.Root(t)
	const n = 200
	w := startWatch(t, 0, "-f", "json")
	shell := load(t, n)
	w.stop(t, unix.SIGINT)
	if want := "taskwatch: watching the machine with the source bpf; Ctrl-C ends it\n"; w.stderr.String() != want {
		t.Errorf("standard error is %q, want %q", w.stderr.String(), want)
	}
	tallyOf(t, w.stdout.String(), shell, n, taskwatch.KindsOf(taskwatch.Init, taskwatch.Clone, taskwatch.Exec, taskwatch.Exit))
}

func TestWatchWithAModuleCountsTheSame(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	dir := t.TempDir()
	src := filepath.Join(dir, "count.c")
	if r := tw(t, "module", "new", src); r.status != 0 {
		t.Fatalf("module new: %+v", r)
	}
	object := buildSource(t, src)
	const n = 100
	out := filepath.Join(dir, "events.jsonl")
	w := startWatch(t, 0, "-f", "json", "-o", out, "-e", "exec", "--globals", "-m", object+",uid="+strconv.Itoa(stranger))
	shell := load(t, n)
	if err := w.cmd.Process.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	// The shell's own exec is one more.
	now := fmt.Sprintf("count: execs = %d\n", n+1)
	eventually(t, "the module's counter is shown while it runs", w.stdout.Has(now))
	w.stop(t, unix.SIGTERM)
	if got := strings.Count(w.stdout.String(), now); got != 2 {
		t.Errorf("%d times %q, want it at SIGUSR1 and at the end:\n%s", got, now, w.stdout.String())
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := tallyOf(t, string(b), shell, n, taskwatch.KindsOf(taskwatch.Exec))
	if want := [taskwatch.NumKinds]int{taskwatch.Exec: got[taskwatch.Exec]}; got != want {
		t.Errorf("events %v, want execs alone", got)
	}
}

const talker = `
#include "task_watchers.h"
module_param(uid, int, 0);
static int talk(unsigned long val, struct task_struct *tsk)
{
	char word[8] = "hello";
	if (task_uid(tsk) != uid)
		return 0;
	task_watcher_emit(word, sizeof(word));
	return -TW_EACCES;
}
task_watcher_func(exec, talk);
MODULE_LICENSE("GPL");
`

func TestWatchShowsWhatModulesReportAndSend(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	object := buildModule(t, "talker", talker)
	for _, format := range []string{"json", "text"} {
		w := startWatch(t, 0, "-f", format, "-e", "exec", "-m", object+",uid="+strconv.Itoa(stranger), "--pid", strconv.Itoa(os.Getpid()))
		shell := load(t, 3)
		w.stop(t, unix.SIGINT)
		if format == "text" {
			patterns := map[string]int{
				`(?m)^\S+ emit +\d+ +talker: hello: (sh|true)$`:                               4,
				`(?m)^\S+ error +\d+ +exec: error of talker \(talk\): permission denied: .*$`: 4,
				fmt.Sprintf(`(?m)^\S+ exec +%d +sh -c`, shell):                                1,
			}
			// Others run /bin/true, too, and the module says nothing of them.
			for _, m := range regexp.MustCompile(`(?m)^\S+ emit +(\d+) +talker: hello: true$`).FindAllStringSubmatch(w.stdout.String(), -1) {
				patterns[fmt.Sprintf(`(?m)^\S+ exec +%s +/bin/true$`, m[1])] = 1
			}
			if len(patterns) != 3+3 {
				t.Errorf("the patterns are %v, want one for each of the three children", patterns)
			}
			for pattern, want := range patterns {
				if got := regexp.MustCompile(pattern).FindAllString(w.stdout.String(), -1); len(got) != want {
					t.Errorf("%d lines like %s, want %d, in\n%s", len(got), pattern, want, w.stdout.String())
				}
			}
			continue
		}
		var emits, failures int
		for _, l := range lines(t, strings.NewReader(w.stdout.String())) {
			switch {
			case l.Record != nil:
				emits++
				if l.Record.Module != "talker" || string(l.Record.Data) != "hello\x00\x00\x00" || l.Record.Task == nil || l.Record.Task.UID[0] != stranger {
					t.Errorf("the module's record is %+v of %+v", l.Record, l.Record.Task)
				}
			case l.Failure != nil:
				failures++
				e := l.Failure
				if e.Module != "talker" || e.Watcher != "talk" || !errors.Is(e.Err, unix.EACCES) || e.Verdict != taskwatch.Counted || e.Event.Kind != taskwatch.Exec ||
					e.Event.Task.UID[0] != stranger || e.Event.Missing&(taskwatch.FieldExe|taskwatch.FieldArgv) != 0 ||
					!slices.Contains([]string{"sh", "/bin/true"}, e.Event.Task.Argv[0]) {
					t.Errorf("the watcher's error is %+v on %+v", e, e.Event)
				}
			}
		}
		if emits != 4 || failures != 4 {
			t.Errorf("%d records and %d errors of the module, want 4 and 4, in\n%s", emits, failures, w.stdout.String())
		}
		// What was recorded is replayed the same.
		c := cmd(t, "replay", "-f", "json", "-")
		c.Stdin = strings.NewReader(w.stdout.String())
		if r := finish(t, c); r.stdout != w.stdout.String() {
			t.Errorf("replayed\n%s\nwant\n%s%s", r.stdout, w.stdout.String(), r.stderr)
		}
	}
}

func TestWatchOfAProcessTree(t *testing.T) {
	for _, source := range []string{"bpf", "connector"} {
		t.Run(source, func(t *testing.T) {
			testutil.Root(t)
			sh, _ := testutil.Hold(t, testutil.Shell())
			w := startWatch(t, 0, "-f", "json", "-e", "exec", "--source", source, "--pid", strconv.Itoa(sh.Process.Pid))
			fmt.Fprintln(sh.In, "/bin/true; /bin/true; echo done")
			if line, err := sh.Out.ReadString('\n'); line != "done\n" {
				t.Fatalf("the shell wrote %q, %v", line, err)
			}
			load(t, 2) // outside
			w.stop(t, unix.SIGINT)
			n, lost := 0, 0
			for _, l := range lines(t, strings.NewReader(w.stdout.String())) {
				switch {
				case l.Start != nil:
					continue
				case l.Loss != nil && source == "connector": // it has the messages of all tasks
					lost += max(int(l.Loss.Count), 1)
					continue
				}
				n++
				// The connector may be too late to read what a program was
				// called with.
				argv := strings.Join(l.Event.Task.Argv, " ")
				if missing := l.Event.Missing.Has(taskwatch.FieldArgv); l.Event.Kind != taskwatch.Exec || argv != "/bin/true" && !missing || missing && source == "bpf" {
					t.Errorf("a line is %s", record.Append(nil, l))
				}
			}
			if n > 2 || n+lost < 2 {
				t.Errorf("%d execs, and %d lost, want 2", n, lost)
			}
		})
	}
}

func TestWatchWithoutPrivileges(t *testing.T) {
	testutil.Root(t) // to become somebody else
	w := startWatch(t, nobody, "-f", "json", "-e", "exec")
	load(t, 1)
	w.stop(t, unix.SIGINT)
	says := regexp.MustCompile(`^taskwatch: watching the machine with the source connector \(not with a better one: bpf: .*CAP_BPF and CAP_PERFMON.*\); Ctrl-C ends it\n$`)
	if !says.MatchString(w.stderr.String()) {
		t.Errorf("standard error is %q", w.stderr.String())
	}
	text := startWatch(t, nobody, "-e", "exec", "-o", os.DevNull)
	text.stop(t, unix.SIGINT)
	if want := "; a ? stands for what it came too late to read, or may not read; Ctrl-C ends it\n"; !strings.HasSuffix(text.stderr.String(), want) {
		t.Errorf("standard error of text is %q, want %q at the end", text.stderr.String(), want)
	}
	execs, busy := 0, false // the tests of other packages run storms beside
	for _, l := range lines(t, strings.NewReader(w.stdout.String())) {
		switch ev := l.Event; {
		case l.Start != nil:
		case l.Loss != nil:
			busy = true
		case ev == nil || ev.Source != "connector" || ev.Kind != taskwatch.Exec:
			t.Errorf("a line is %s", record.Append(nil, l))
		case ev.Missing.Has(taskwatch.FieldUID): // too late to ask for it
			busy = true
		case ev.Task.UID[0] == stranger:
			execs++
		}
	}
	if execs != 2 && !(busy && execs < 2) {
		t.Errorf("%d execs of the load, want 2", execs)
	}
}

// TestNothingOutlivesAKilledWatch looks for the programs and maps, by their
// ids, of a taskwatch that was killed with a module registered.
func TestNothingOutlivesAKilledWatch(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	object := buildModule(t, "talker", talker)
	w := startWatch(t, 0, "-m", object+",uid="+strconv.Itoa(stranger), "-e", "exec")
	held := bpfIDs(t, w.cmd.Process.Pid)
	if len(held["prog"]) == 0 || len(held["map"]) == 0 {
		t.Fatalf("taskwatch holds %v while it watches", held)
	}
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = w.cmd.Wait()
	for kind, ids := range held {
		for _, id := range ids {
			eventually(t, fmt.Sprintf("the %s %d is gone", kind, id), func() bool { return bpfGone(kind, id) })
		}
	}
}

// TestWatchEndsOnce sends the signal twice, as timeout(1) does.
func TestWatchEndsOnce(t *testing.T) {
	testutil.Root(t)
	w := startWatch(t, 0, "-e", "exec", "--summary")
	if err := w.cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	w.stop(t, unix.SIGINT)
	if !strings.Contains(w.stdout.String(), "summary\n") {
		t.Errorf("no summary in %q", w.stdout.String())
	}
}

func TestWatchErrors(t *testing.T) {
	needsClang(t)
	dir := t.TempDir()
	object := buildModule(t, "talker", talker)
	garbage, wasm := filepath.Join(dir, "garbage.o"), filepath.Join(dir, "m.wasm")
	for file, text := range map[string]string{garbage: "not an object", wasm: "\x00asm\x01\x00\x00\x00"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
		root   bool
	}{
		{[]string{"-m", filepath.Join(dir, "none.o")}, 1, "no such file or directory; 'taskwatch module build' makes one", false},
		{[]string{"-m", garbage}, 1, `module "garbage"`, false},
		{[]string{"-m", wasm}, 1, `wasm: parse module "m"`, false},
		{[]string{"-m", object + ",uid"}, 1, `"uid" is not key=value`, false},
		{[]string{"-m", object + ",user=1"}, 1, `no parameter "user"; its parameters are uid (int, default 0)`, true},
		{[]string{"-m", object + ",uid=many"}, 1, "want a number from -2147483648 to 2147483647", true},
		{[]string{"-m", object, "-m", object}, 1, "another module of that name", true},
		{[]string{"-m", object, "--source", "connector"}, 1, "need the source bpf", false},
		{[]string{"--cgroup", "/sys/fs/cgroup", "--source", "connector"}, 1, "cannot watch one cgroup", false},
		{[]string{"--cgroup", "/proc"}, 1, "not a cgroup of the unified hierarchy", true},
		{[]string{"-e", "free", "--source", "connector"}, 1, "--event free: the source connector does not deliver it", false},
		{[]string{"--pid", "4194304"}, 1, "there is no such process", false},
		{[]string{"--pid", "0"}, 2, "no process has that pid", false},
		{[]string{"--pid", "1", "--cgroup", "/x"}, 2, "exclude each other", false},
		{[]string{"--source", "ptrace"}, 1, "choose one of auto, bpf, connector", false},
		{[]string{"--latency", "-1s"}, 2, "cannot be negative", false},
		{[]string{"--globals"}, 2, "no module is given", false},
		{[]string{"-f", "xml"}, 2, "unknown format", false},
		{[]string{"true"}, 2, "unknown command", false},
	} {
		if c.root && os.Geteuid() != 0 {
			continue
		}
		r := tw(t, append([]string{"watch"}, c.args...)...)
		if r.status != c.status || !strings.Contains(r.stderr, c.says) || r.stdout != "" {
			t.Errorf("watch %q: status %d, stdout %q, stderr %q; want %d and %q", c.args, r.status, r.stdout, r.stderr, c.status, c.says)
		}
	}
}

func TestWatchEndsWhenNothingCanBeWritten(t *testing.T) {
	testutil.Root(t)
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"json", "text"} {
		w := startWatch(t, 0, "-f", format, "-e", "exec", "-o", "/dev/full")
		load(t, 1)
		_ = w.cmd.Wait()
		if got := shellStatusOf(w.cmd.ProcessState); got != 1 || !strings.Contains(w.stderr.String(), `the events in "/dev/full" are not complete: no space left on device`) {
			t.Errorf("%s: status %d, stderr %q", format, got, w.stderr.String())
		}
	}
}

// Where there are too few descriptors for a tracepoint of each system call, ids
// are seen by the exits of all of them.
func TestWatchWithFewDescriptors(t *testing.T) {
	testutil.Root(t)
	out := filepath.Join(t.TempDir(), "events.jsonl")
	// The start takes 70, a few more on a slow disk; with a tracepoint for each of the calls 81.
	c := exec.Command("sh", "-c", `ulimit -n 79; exec "$@"`, "sh", binary(t), "watch", "--source", "bpf", "-e", "uid", "-f", "json", "-o", out)
	c.Env = cmd(t).Env
	var log screen
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Signal(unix.SIGINT)
		_ = c.Wait()
		if t.Failed() {
			t.Logf("it said %q and ended with %v", log.String(), c.ProcessState)
		}
	}()
	eventually(t, "it watches", func() bool { return strings.Contains(log.String(), "watching the machine") })
	eventually(t, "a change of ids is seen", func() bool {
		load(t, 1)
		b, err := os.ReadFile(out)
		return err == nil && strings.Contains(string(b), `"event":"uid"`)
	})
}
