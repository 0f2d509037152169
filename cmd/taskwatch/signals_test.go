package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// live is a run of the program that goes on.
type live struct {
	*exec.Cmd
	out, err screen
}

// start starts taskwatch in a session of its own, so without a terminal, and
// waits until the command has said that it is ready.
func start(t *testing.T, args ...string) *live {
	t.Helper()
	l := &live{Cmd: cmd(t, args...)}
	return l.start(t)
}

func (l *live) start(t *testing.T) *live {
	t.Helper()
	l.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	l.Stdout, l.Stderr = &l.out, &l.err
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command is ready", l.out.Has("ready"))
	return l
}

func (l *live) send(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := l.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func (l *live) wait() int {
	_ = l.Wait() // the status is what counts
	return shellStatusOf(l.ProcessState)
}

// waiting is a shell loop that a signal interrupts at once.
const waiting = "while :; do sleep 100 & wait $!; kill -9 $! 2>/dev/null; done"

// Without a terminal, taskwatch passes on what it is sent.
func TestSignalsArePassedOn(t *testing.T) { eachSource(t, testSignalsArePassedOn) }

func testSignalsArePassedOn(t *testing.T, source string) {
	names := map[string]syscall.Signal{
		"HUP": unix.SIGHUP, "INT": unix.SIGINT, "QUIT": unix.SIGQUIT, "TERM": unix.SIGTERM,
		"USR1": unix.SIGUSR1, "USR2": unix.SIGUSR2, "TSTP": unix.SIGTSTP, "CONT": unix.SIGCONT, "TTIN": unix.SIGTTIN,
		"ALRM": unix.SIGALRM, "VTALRM": unix.SIGVTALRM, "XCPU": unix.SIGXCPU, "IO": unix.SIGIO, "PWR": unix.SIGPWR,
		"WINCH": unix.SIGWINCH, "PROF": unix.SIGPROF, "ABRT": unix.SIGABRT, "35": 35, "64": 64,
	}
	script := "sleep 100 &\n" // it is left behind, wherever the kill below meets the shell
	for name := range names {
		script += fmt.Sprintf("trap 'echo got-%s' %s\n", name, name)
	}
	l := start(t, "run", "--source", source, "--", "sh", "-c", script+"echo $$ ready\n"+waiting)
	for name, sig := range names {
		l.send(t, sig)
		eventually(t, name+" reaches the command", l.out.Has("got-"+name+"\n"))
	}
	command, err := strconv.Atoi(strings.Fields(l.out.String())[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(command, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the command is reaped", func() bool { return state(command) == 0 })
	l.send(t, unix.SIGTERM) // kills what it has left behind
	if status := l.wait(); status != 128+9 {
		t.Errorf("status %d", status)
	}
	for name := range names {
		if n := strings.Count(l.out.String(), "got-"+name+"\n"); n != 1 {
			t.Errorf("%s came %d times", name, n)
		}
	}
}

func TestTerminatedCommand(t *testing.T) { eachSource(t, testTerminatedCommand) }

func testTerminatedCommand(t *testing.T, source string) {
	l := start(t, "run", "--source", source, "--", "sh", "-c", "trap 'kill -9 $!; exit 9' TERM; sleep 100 & echo ready; wait")
	l.send(t, unix.SIGTERM)
	if status := l.wait(); status != 9 {
		t.Errorf("status %d, want that of the command, 9", status)
	}
	if !strings.Contains(l.err.String(), "exit 9 after ") {
		t.Errorf("the last events are missing: %s", l.err.String())
	}

	l = start(t, "run", "--source", source, "--", "sh", "-c", "echo ready; exec sleep 100")
	l.send(t, unix.SIGTERM)
	if status := l.wait(); status != 128+15 {
		t.Errorf("status %d, want %d", status, 128+15)
	}
}

// What nohup ignores, stays ignored: by taskwatch and by the command.
func TestIgnoredSignalsStayIgnored(t *testing.T) { eachSource(t, testIgnoredSignalsStayIgnored) }

func testIgnoredSignalsStayIgnored(t *testing.T, source string) {
	l := &live{Cmd: cmd(t)}
	l.Path, l.Args = "/bin/sh", []string{"sh", "-c",
		`trap '' HUP INT TSTP TTIN TTOU; exec "$0" run --source ` + source + ` -- sh -c 'grep SigIgn /proc/self/status; echo ready; read line; exit 5'`, binary(t)}
	stdin, err := l.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.start(t)
	_, mask, _ := strings.Cut(l.out.String(), "SigIgn:")
	ignored, err := strconv.ParseUint(strings.Fields(mask)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU} {
		if ignored&(1<<(sig-1)) == 0 {
			t.Errorf("the command no longer ignores %v", sig)
		}
		l.send(t, sig)
	}
	if _, err := stdin.Write([]byte("go on\n")); err != nil {
		t.Fatal(err)
	}
	if status := l.wait(); status != 5 {
		t.Errorf("status %d, want 5; stderr %s", status, l.err.String())
	}
}

// With the daemon's source only the command dies: see TestRunWithTheDaemon.
func TestKilledTaskwatchTakesTheTreeAlong(t *testing.T) {
	eachAttaching(t, testKilledTaskwatchTakesTheTreeAlong)
}

func testKilledTaskwatchTakesTheTreeAlong(t *testing.T, source string) {
	if source == bpf.Name {
		testutil.Require(t, testutil.NeedsKernel(6, 16))
	}
	l := start(t, "run", "--source", source, "--", "sh", "-c", "setsid sleep 1000 & sleep 1000 & echo $! $$ ready; wait")
	var pids []int
	eventually(t, "the children run", func() bool {
		pids = descendants(l.Process.Pid)
		return len(pids) == 3
	})
	l.send(t, unix.SIGKILL)
	l.wait()
	eventually(t, "all are dead", func() bool {
		return !slices.ContainsFunc(pids, func(pid int) bool { s := state(pid); return s != 0 && s != 'Z' })
	})
}

// descendants returns the processes below pid.
func descendants(pid int) (list []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		b, _ := os.ReadFile(file) // gone, then
		for _, s := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(s); err == nil {
				list = append(append(list, child), descendants(child)...)
			}
		}
	}
	return list
}

// Once the command has ended, who wants taskwatch to end wants the rest to.
func TestWhatIsLeftBehindIsKilled(t *testing.T) { eachSource(t, testWhatIsLeftBehindIsKilled) }

func testWhatIsLeftBehindIsKilled(t *testing.T, source string) {
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		l := start(t, "run", "--source", source, "--", "sh", "-c", "sleep 1000 & sleep 1000 & echo $$ ready; exit 4")
		eventually(t, "the command has ended", l.err.Has(": exit 4 after "[2:]))
		eventually(t, "its children run", func() bool { return strings.Count(l.err.String(), "sleep 1000\n") == 2 })
		command, err := strconv.Atoi(strings.Fields(l.out.String())[0])
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the command is reaped", func() bool { return state(command) == 0 })
		l.send(t, sig)
		if status := l.wait(); status != 4 {
			t.Errorf("%v: status %d, want that of the command, 4", sig, status)
		}
		if !strings.Contains(l.err.String(), "taskwatch: killed 2 processes left behind by the command\n") {
			t.Errorf("%v: no word of what was killed: %s", sig, l.err.String())
		}
		if n := strings.Count(l.err.String(), "signal 9 (SIGKILL) after "); n != 2 {
			t.Errorf("%v: %d ends were told, want 2: %s", sig, n, l.err.String())
		}
	}
}

// A signal may come before there is a command, or after it. Before, it ends what it
// would end by default.
func TestStartIsCancelled(t *testing.T) {
	for _, test := range []struct {
		err   error
		kills int
		ended syscall.Signal
	}{
		{source.ErrNotStarted, 4, unix.SIGUSR1},
		{unix.ESRCH, 2, unix.SIGTERM},
	} {
		target := &fakeTarget{err: test.err}
		r, err := newRelay(false)
		if err != nil {
			t.Fatal(err)
		}
		r.target = target
		for _, sig := range []syscall.Signal{unix.SIGWINCH, unix.SIGCONT, unix.SIGUSR1, unix.SIGTERM, unix.SIGINT, 40} {
			r.handle(caught{source.Signal{Number: sig}, time.Now()})
		}
		if err := r.caught.Close(); err != nil {
			t.Error(err)
		}
		if target.kills != test.kills {
			t.Errorf("%v: killed %d times, want %d", test.err, target.kills, test.kills)
		}
		if got := r.endedBy(); got != test.ended {
			t.Errorf("%v: ended by %v, want %v", test.err, got, test.ended)
		}
	}
}

// While a run is still being prepared, a signal does what it would do to the command.
func TestSignalsBeforeTheCommand(t *testing.T) {
	module := filepath.Join(t.TempDir(), "module.wasm") // that nobody writes, so that the run waits for it
	if err := unix.Mkfifo(module, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGALRM, unix.SIGQUIT, unix.SIGIO, 64} {
		c := cmd(t, "run", "-m", module, "--", "true")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it waits", func() bool { return waitsIn(c.Process.Pid, unix.SYS_OPENAT) })
		for _, harmless := range []syscall.Signal{unix.SIGWINCH, unix.SIGCONT, sig} {
			if err := c.Process.Signal(harmless); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Wait() // the status is what counts
		if status := c.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != sig {
			t.Errorf("%v: it ended with status %#x, want to be killed by it", sig, int(status))
		}
	}
}

// An import of package early has it initialised behind much of the program, if the
// import's own path comes late in the alphabet.
func TestSignalsAreTakenEarly(t *testing.T) {
	c := cmd(t, "version")
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	trace, err := c.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	at := func(path string) int {
		i := strings.Index(string(trace), "init "+path+" @")
		if i < 0 {
			t.Fatalf("%s is not initialised, or has nothing to initialise", path)
		}
		return i
	}
	if at("github.com/taskwatch/taskwatch/internal/early") > at("google.golang.org/protobuf/reflect/protoreflect") {
		t.Error("signals are taken from Go's run time behind packages that take long to initialise")
	}
}

// waitsIn reports whether a thread of a process waits in a system call.
func waitsIn(pid, call int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	return slices.ContainsFunc(files, func(file string) bool {
		b, err := os.ReadFile(file)
		return err == nil && strings.HasPrefix(string(b), fmt.Sprintf("%d ", call))
	})
}

type fakeTarget struct {
	err   error
	kills int
}

func (f *fakeTarget) Signal(syscall.Signal) error { return f.err }
func (f *fakeTarget) Pass(source.Signal) error    { return f.err }
func (f *fakeTarget) Reached(source.Signal, time.Duration) (had, known bool) {
	return false, true
}
func (f *fakeTarget) Kill() int { f.kills++; return 0 }

// An alarm that was set before is the command's.
func TestAlarmRingsForTheCommand(t *testing.T) {
	t.Parallel()
	eachSource(t, testAlarmRingsForTheCommand)
}

func testAlarmRingsForTheCommand(t *testing.T, source string) {
	testutil.Require(t, testutil.NeedsTool("perl"))
	perl := func(args ...string) int {
		c := exec.Command("perl", append([]string{"-e", "alarm 2; exec @ARGV"}, args...)...)
		_ = c.Run() // the status is what counts
		return shellStatusOf(c.ProcessState)
	}
	alone := make(chan int, 1)
	go func() { alone <- perl("sleep", "30") }() // both wait for their alarm at the same time
	got := perl(splitSource([]string{binary(t), "run", "--source", source, "-o", os.DevNull, "--", "sleep", "30"})...)
	if want := <-alone; got != want || want != 128+int(unix.SIGALRM) {
		t.Errorf("status %d, want that without taskwatch, %d", got, want)
	}
}

// A shell without job control has its background jobs ignore SIGINT: a script
// that ends one with it means it.
func TestSIGINTEndsWhatAScriptHasStarted(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		line   string
		status int
	}{
		"watch":  {`"$0" watch --source connector -e exec 2>&1 >/dev/null`, 0},
		"replay": {`echo watching; exec "$0" replay "$1"`, 128 + int(unix.SIGINT)},
	} {
		t.Run(name, func(t *testing.T) {
			keep, err := os.OpenFile(fifo, os.O_RDWR, 0) // a recording that nobody goes on with
			if err != nil {
				t.Fatal(err)
			}
			defer keep.Close()
			// The pid is the shell's, until it becomes taskwatch.
			script := `(` + strings.Replace(test.line, `"$0" w`, `exec "$0" w`, 1) + `) > "$2" 2>&1 & echo $!; wait $!; echo "status $?"`
			log := filepath.Join(t.TempDir(), "log")
			c := exec.Command("sh", "-c", script, binary(t), fifo, log)
			var out screen
			c.Stdout, c.Stderr = &out, &out
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it says that it watches", func() bool {
				b, _ := os.ReadFile(log)
				return strings.Contains(string(b), "watching")
			})
			eventually(t, "the shell has said the pid", out.Has("\n")) // taskwatch may be faster
			pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "it catches SIGINT", func() bool { return catches(pid, unix.SIGINT) })
			if err := unix.Kill(pid, unix.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // the status is in what it says
			if want := fmt.Sprintf("status %d", test.status); !strings.Contains(out.String(), want) {
				t.Errorf("it said %q, want %s", out.String(), want)
			}
		})
	}
}

// catches reports whether a process has a handler for a signal.
func catches(pid int, sig syscall.Signal) bool { return in("SigCgt", pid, sig) }

// in reports whether a signal is in a set of /proc/PID/status.
func in(set string, pid int, sig syscall.Signal) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "\n"+set+":\t")
	mask, err := strconv.ParseUint(strings.SplitN(rest, "\n", 2)[0], 16, 64)
	return err == nil && mask&(1<<(sig-1)) != 0
}

// With --kill-on-exit nothing outlives the command, whose status it is still.
func TestKillOnExit(t *testing.T) { eachSource(t, testKillOnExit) }

func testKillOnExit(t *testing.T, source string) {
	r := tw(t, "run", "--source", source, "--kill-on-exit", "-e", "uid", "--", "sh", "-c",
		"for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP INT; echo $$; exec sleep 1000' &); done; sleep 0.5; exit 7")
	if r.status != 7 {
		t.Errorf("status %d, want 7; %s", r.status, r.stderr)
	}
	left := strings.Fields(r.stdout)
	if len(left) != 3 {
		t.Fatalf("it left %q, want three", left)
	}
	for _, pid := range left {
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		if s := state(n); s != 0 && s != 'Z' { // init has yet to reap it
			t.Errorf("process %d lives on, in state %c", n, s)
		}
	}
}

// A shell without job control starts its background jobs with SIGINT ignored, and
// "kill -INT $!" is meant all the same. SIGHUP stays ignored, as behind nohup.
func TestSIGINTEndsWhatHasNoEnd(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ends := func(t *testing.T, started string, args ...string) {
		t.Helper()
		var stderr screen
		c := cmd(t)
		c.Path, c.Stderr = "/bin/sh", &stderr
		c.Args = append([]string{"sh", "-c", `trap "" INT HUP; exec "$0" "$@"`, binary(t)}, args...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, started, stderr.Has(started))
		if err := c.Process.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if err := c.Process.Signal(unix.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%q: %v: %s", args, err, stderr.String())
		}
	}
	sh, _ := testutil.Hold(t, testutil.Shell())
	t.Run("attach", func(t *testing.T) {
		ends(t, "Ctrl-C ends the watching", "run", "--source", "ptrace", "-p", strconv.Itoa(sh.Process.Pid))
	})
	t.Run("attach, stopped", func(t *testing.T) {
		var stderr screen
		c := cmd(t, "run", "--source", "ptrace", "-p", strconv.Itoa(sh.Process.Pid))
		c.Stderr = &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it watches", stderr.Has("Ctrl-C ends the watching"))
		for _, sig := range []syscall.Signal{unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU} {
			if !in("SigIgn", c.Process.Pid, sig) {
				t.Errorf("%v would stop it, and with it what it watches", sig)
			}
		}
		if err := c.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Errorf("%v: %s", err, stderr.String())
		}
	})
	sh.Release(t)
	t.Run("watch", func(t *testing.T) {
		testutil.Root(t)
		ends(t, "Ctrl-C ends it", "watch", "--source", "connector")
	})
	t.Run("serve", func(t *testing.T) {
		testutil.Root(t)
		ends(t, "serving", "serve", "--socket", filepath.Join(t.TempDir(), "socket"))
	})
	t.Run("replay", func(t *testing.T) {
		in, err := os.OpenFile(pipe, os.O_RDWR, 0) // which never ends
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		if _, err := in.WriteString(recording()); err != nil {
			t.Fatal(err)
		}
		var stdout screen
		c := cmd(t)
		c.Path, c.Stdin, c.Stdout = "/bin/sh", in, &stdout
		c.Args = []string{"sh", "-c", `trap "" INT; exec "$0" replay -f json -`, binary(t)}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "an event is replayed", stdout.Has(`"exec"`))
		if err := c.Process.Signal(unix.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait()
		if got := shellStatusOf(c.ProcessState); got != 128+2 {
			t.Errorf("replay ended with %d, want %d", got, 128+2)
		}
	})
}
