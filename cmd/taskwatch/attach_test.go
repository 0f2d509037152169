package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// attachment is a run of 'taskwatch run -p'.
type attachment struct {
	*exec.Cmd
	stdout, stderr screen
}

// attach starts taskwatch on a process, and returns once it watches.
func attach(t *testing.T, pid int, args ...string) *attachment {
	t.Helper()
	a := &attachment{Cmd: cmd(t, append([]string{"run", "-p", strconv.Itoa(pid)}, args...)...)}
	a.Stdout, a.Stderr = &a.stdout, &a.stderr
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if a.ProcessState == nil { // the test has failed
			_ = a.Process.Kill()
			_ = a.Wait()
		}
	})
	eventually(t, "taskwatch watches", func() bool {
		if state(a.Process.Pid) == 'Z' {
			_ = a.Wait()
			t.Fatalf("run -p %d ended: %s", pid, a.stderr.String())
		}
		return strings.Contains(a.stderr.String(), "taskwatch: watching ")
	})
	return a
}

// status waits for the end and returns the exit status.
func (a *attachment) status() int {
	_ = a.Wait() // the status says it
	return shellStatusOf(a.ProcessState)
}

func TestAttachStatusIsThatOfTheProcess(t *testing.T) { eachAttaching(t, testAttachStatus) }

func testAttachStatus(t *testing.T, source string) {
	t.Parallel()
	for script, want := range map[string]int{"exit 3": 3, "kill -TERM $$": 128 + 15} {
		sh, _ := testutil.Hold(t, testutil.Shell())
		a := attach(t, sh.Process.Pid, "--source", source, "-f", "json")
		fmt.Fprintln(sh.In, "/bin/true;", script)
		if got := a.status(); got != want {
			t.Errorf("%q: status %d, want %d: %s", script, got, want, a.stderr.String())
		}
		_ = sh.Wait()
		if got := shellStatusOf(sh.ProcessState); got != want {
			t.Errorf("%q: the process itself ended with %d, want %d", script, got, want)
		}
		var execs []*taskwatch.Event
		for _, l := range lines(t, strings.NewReader(a.stdout.String())) {
			if l.Event != nil && l.Event.Kind == taskwatch.Exec {
				execs = append(execs, l.Event)
			}
		}
		if len(execs) != 1 || execs[0].Task.PPID != sh.Process.Pid || execs[0].Task.Argv[0] != "/bin/true" {
			t.Errorf("%q: execs are %v in\n%s", script, execs, a.stdout.String())
		}
	}
}

// What ends taskwatch ends nothing else.
func TestAttachLeavesTheProcess(t *testing.T) { eachAttaching(t, testAttachLeaves) }

func testAttachLeaves(t *testing.T, source string) {
	t.Parallel()
	sh, _ := testutil.Hold(t, testutil.Shell())
	pid := sh.Process.Pid
	for sig, want := range map[syscall.Signal]int{unix.SIGINT: 0, unix.SIGTERM: 0, unix.SIGHUP: 0, unix.SIGKILL: 128 + 9} {
		a := attach(t, pid, "--source", source)
		if err := a.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if got := a.status(); got != want {
			t.Errorf("%v: status %d, want %d: %s", sig, got, want, a.stderr.String())
		}
		fmt.Fprintln(sh.In, "/bin/true; echo done")
		if line, err := sh.Out.ReadString('\n'); line != "done\n" {
			t.Fatalf("after %v the shell wrote %q, %v", sig, line, err)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(string(status), "TracerPid:\t0\n") {
			t.Errorf("after %v: %v, %s", sig, err, status)
		}
	}
	sh.Release(t)
}

func TestAttachErrors(t *testing.T) {
	sh, _ := testutil.Hold(t, testutil.Shell())
	pid := strconv.Itoa(sh.Process.Pid)
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = zombie.Wait() }()
	eventually(t, "true has ended", func() bool { return state(zombie.Process.Pid) == 'Z' })
	thread := ""
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if task.Name() != strconv.Itoa(os.Getpid()) {
			thread = task.Name()
		}
	}
	a := attach(t, sh.Process.Pid, "--source", "ptrace")
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"-p", pid, "--", "true"}, "-p and a command (true) exclude each other; give one of them"},
		{[]string{"-p", pid, "--kill-on-exit"}, "--kill-on-exit works only with a command"},
		{[]string{"-p", pid, "--dry-run"}, "--dry-run: with -p only modules in the kernel"},
		{[]string{"-p", pid, "--source", "ptrace", "-e", "exec-failed"}, "the source bpf can"},
		{[]string{"-p", pid, "--source", "ptrace"}, "ptrace: process " + pid + " is already traced by process "},
		{[]string{"-p", strconv.Itoa(gone.Process.Pid)}, "there is no process " + strconv.Itoa(gone.Process.Pid)},
		{[]string{"-p", strconv.Itoa(zombie.Process.Pid)}, "has ended already"},
		{[]string{"-p", thread, "--source", "ptrace", "-e", "exec-failed"}, "-p " + thread + " is a thread of the process " + strconv.Itoa(os.Getpid()) + ", which is watched"},
		{[]string{"-p", "0"}, "a pid must be above 0"},
		{[]string{"-p", "-4"}, "a pid must be above 0"},
		{[]string{"-p", "sh"}, `--pid "sh": give a whole number`},
	} {
		r := tw(t, append([]string{"run"}, c.args...)...)
		if r.status != exitRunFailed || !strings.Contains(r.stderr, c.says) || r.stdout != "" {
			t.Errorf("run %q: %+v, want %q", c.args, r, c.says)
		}
	}
	own := exec.Command("sh", "-c", `exec "$0" run -p $$`, binary(t))
	if out, _ := own.CombinedOutput(); own.ProcessState.ExitCode() != exitRunFailed || !strings.Contains(string(out), "is taskwatch itself") {
		t.Errorf("its own pid: %d, %s", own.ProcessState.ExitCode(), out)
	}
	if err := a.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := a.status(); got != 0 {
		t.Errorf("status %d", got)
	}
	sh.Release(t)
}

// A module that denies something cannot where a process was running.
func TestAttachDeniesNothing(t *testing.T) {
	rule := filepath.Join(t.TempDir(), "forbid.wasm")
	buildSandboxed(t, forbid, rule)
	sh, _ := testutil.Hold(t, testutil.Shell())
	r := tw(t, "run", "--source", "ptrace", "-p", strconv.Itoa(sh.Process.Pid), "-m", rule)
	if r.status != exitRunFailed || !strings.Contains(r.stderr, "the source ptrace denies nothing outside of the kernel") {
		t.Errorf("%+v", r)
	}
	sh.Release(t)
}

// An ordinary user attaches to what is his, and is told why not to what is not.
func TestAttachAsAnOrdinaryUser(t *testing.T) {
	testutil.Root(t)
	foreign, _ := testutil.Hold(t, testutil.Shell())
	own := exec.Command("sh", "-c", `echo up; read x; eval "$x"`)
	own.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	held, _ := testutil.Hold(t, own)
	as := func(pid int) *exec.Cmd {
		c := cmd(t, "run", "-p", strconv.Itoa(pid))
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
		return c
	}
	r := finish(t, as(foreign.Process.Pid))
	if r.status != exitRunFailed || !strings.Contains(r.stderr, "it belongs to another user; run taskwatch as root or as that user") {
		t.Errorf("another's process: %+v", r)
	}
	var stderr screen
	c := as(held.Process.Pid)
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "taskwatch watches", stderr.Has("with the source ptrace (not with a better one: bpf: "))
	fmt.Fprintln(held.In, "/bin/true; exit 9")
	text, err := io.ReadAll(out)
	_ = c.Wait()
	if got := shellStatusOf(c.ProcessState); got != 9 || err != nil || !strings.Contains(string(text), " exec ") {
		t.Errorf("status %d, %v: %s%s", got, err, text, stderr.String())
	}
	_ = held.Wait()
	foreign.Release(t)
}
