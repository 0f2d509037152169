package ptrace

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// tree is one finished run of a command.
type tree struct {
	source  *Source
	err     error
	events  []*taskwatch.Event // clones
	notices []string
	errors  []*taskwatch.Failure
}

func (tr *tree) kind(k taskwatch.Kind) (events []*taskwatch.Event) {
	for _, ev := range tr.events {
		if ev.Kind == k {
			events = append(events, ev)
		}
	}
	return events
}

// limit is far beyond what any test takes; a run that exceeds it is killed
// and reported.
const limit = 2 * time.Minute

// watching returns a module with one watcher on some kinds.
func watching(name string, fn taskwatch.Watcher, options []taskwatch.WatchOption, kinds ...taskwatch.Kind) *taskwatch.Module {
	m := &taskwatch.Module{Name: name}
	for _, k := range kinds {
		m.Watch(k, fn, options...)
	}
	return m
}

// watch runs a command with an observer of everything and the given modules.
func watch(t *testing.T, cfg Config, modules ...*taskwatch.Module) *tree {
	t.Helper()
	tr := &tree{}
	var reg taskwatch.Registry
	observer := &taskwatch.Module{Name: "observer"}
	for _, k := range taskwatch.AllKinds.List() {
		observer.Watch(k, func(ev *taskwatch.Event) error {
			tr.events = append(tr.events, ev.Clone())
			return nil
		}, taskwatch.Observe())
	}
	failures := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Failure != nil {
			tr.errors = append(tr.errors, it.Clone().Failure)
		}
	})
	if err := reg.Attach(failures); err != nil {
		t.Fatal(err)
	}
	for _, m := range append([]*taskwatch.Module{observer}, modules...) {
		if err := reg.Register(m); err != nil {
			t.Fatal(err)
		}
	}
	tr.run(t, cfg, &reg)
	return tr
}

func (tr *tree) run(t *testing.T, cfg Config, reg *taskwatch.Registry) {
	t.Helper()
	if cmd := cfg.Command; cmd.Path == "" && len(cmd.Argv) > 0 {
		cmd.Path = cmd.Argv[0]
	}
	cfg.OnNotice = func(s string) { tr.notices = append(tr.notices, s) }
	var err error
	if tr.source, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tr.err = tr.source.Run(ctx, reg)
	if ctx.Err() != nil {
		t.Fatalf("%q did not end within %v and was killed", cfg.Command.Argv, limit)
	}
}

// sh runs a shell script.
func sh(t *testing.T, script string, modules ...*taskwatch.Module) *tree {
	t.Helper()
	tr := watch(t, Config{Command: &source.Command{Argv: []string{"sh", "-c", script}}}, modules...)
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	return tr
}

func TestExitStatus(t *testing.T) {
	for _, test := range []struct {
		script string
		want   taskwatch.ExitStatus
	}{
		{"exit 0", taskwatch.ExitStatus{Group: true}},
		{"exit 7", taskwatch.ExitStatus{Code: 7, Group: true}},
		{"kill -TERM $$", taskwatch.ExitStatus{Signal: 15, Group: true}},
		{"kill -KILL $$", taskwatch.ExitStatus{Signal: 9, Group: true}},
	} {
		tr := sh(t, test.script)
		if got := tr.source.Exit(); got != test.want {
			t.Errorf("sh -c %q: Exit() = %+v, want %+v", test.script, got, test.want)
		}
		exits := tr.kind(taskwatch.Exit)
		if len(exits) != 1 || exits[0].Exit != test.want {
			t.Errorf("sh -c %q: %d exit events, want one with %+v", test.script, len(exits), test.want)
		}
	}
}

func TestStartErrors(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	text := filepath.Join(dir, "text")
	for name, mode := range map[string]os.FileMode{plain: 0o644, text: 0o755} {
		if err := os.WriteFile(name, []byte("not a program\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		path   string
		errno  error
		status int
	}{
		{"no-such-command-here", os.ErrNotExist, 127},
		{"/no/such/path", syscall.ENOENT, 127},
		{plain, syscall.EACCES, 126},
		{dir, syscall.EACCES, 126},
		{text, syscall.ENOEXEC, 126},
	} {
		tr := watch(t, Config{Command: &source.Command{Path: test.path}})
		var se *source.StartError
		if !errors.As(tr.err, &se) || !errors.Is(tr.err, test.errno) || se.ShellStatus() != test.status {
			t.Errorf("%s: error %v; want a StartError with %v and shell status %d", test.path, tr.err, test.errno, test.status)
		}
		if len(tr.events) != 0 {
			t.Errorf("%s: %d events of a command that never ran, first %v", test.path, len(tr.events), tr.events[0].Kind)
		}
	}
	if tr := watch(t, Config{Command: &source.Command{Path: "true", Dir: filepath.Join(dir, "none")}}); tr.err == nil || !strings.Contains(tr.err.Error(), "working directory") {
		t.Errorf("a working directory that does not exist: error %v; want one that says so", tr.err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("New without a command: no error")
	}
}

func TestRunTwice(t *testing.T) {
	tr := sh(t, "true")
	if err := tr.source.Run(t.Context(), &taskwatch.Registry{}); err == nil {
		t.Error("the second Run returned no error")
	}
}

// The command gets what was configured, and its first exec is an event.
func TestConfig(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dir := t.TempDir()
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	tr := watch(t, Config{
		Command: &source.Command{Path: "sh", Argv: []string{"shell", "-c", `echo "$0 $1 $FRUIT $PWD"`, "zero", "one"}, Env: []string{"PATH=/usr/bin:/bin", "FRUIT=pear", testutil.Mark()}, Dir: dir, Stdout: w},
	})
	w.Close()
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	var out [4096]byte
	n, _ := r.Read(out[:])
	if got, want := string(out[:n]), "zero one pear "+dir+"\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	execs := tr.kind(taskwatch.Exec)
	if len(execs) != 1 {
		t.Fatalf("%d exec events, want 1", len(execs))
	}
	task := execs[0].Task
	if task.Argv[0] != "shell" || len(task.Argv) != 5 || task.Cwd != dir || task.PPID != os.Getpid() {
		t.Errorf("exec of %q in %q by a child of %d; want the 5 arguments given, %q and %d", task.Argv, task.Cwd, task.PPID, dir, os.Getpid())
	}
}

func TestCancelKillsTheTree(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var reg taskwatch.Registry
	execs, frees := 0, 0
	count := &taskwatch.Module{Name: "count"}
	count.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
		if execs++; execs == 4 { // the shell and three sleeps
			cancel()
		}
		return nil
	}, taskwatch.Observe())
	count.Watch(taskwatch.Free, func(*taskwatch.Event) error { frees++; return nil }, taskwatch.Observe())
	if err := reg.Register(count); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Command: &source.Command{Path: "sh", Argv: []string{"sh", "-c", "sleep 1000 & (sleep 1000 & setsid sleep 1000) & wait; wait"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx, &reg); err != nil {
		t.Fatal(err)
	}
	if s.Exit().Signal != int(unix.SIGKILL) {
		t.Errorf("the command ended with %+v, want SIGKILL", s.Exit())
	}
	if frees < 4 {
		t.Errorf("%d free events, want those of at least 4 tasks", frees)
	}
}

func TestSignalAndKill(t *testing.T) {
	var reg taskwatch.Registry
	ready := make(chan struct{})
	observe := []taskwatch.WatchOption{taskwatch.Observe()}
	if err := reg.Register(watching("ready", func(ev *taskwatch.Event) error {
		if ev.Task.Comm == "sleep" {
			close(ready)
		}
		return nil
	}, observe, taskwatch.Exec)); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Command: &source.Command{Path: "sh", Argv: []string{"sh", "-c", "trap 'exit 42' USR1; sleep 1000 & wait"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(unix.SIGUSR1); !errors.Is(err, unix.ESRCH) {
		t.Errorf("Signal before the start: %v, want ESRCH", err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		<-ready
		if err := s.Signal(unix.SIGUSR1); err != nil {
			t.Error(err)
		}
		// The shell exits with its own status; the sleep lives on until it is
		// killed, and Run with it.
		for s.Signal(0) == nil {
			time.Sleep(time.Millisecond)
		}
		if n := s.Kill(); n != 1 {
			t.Errorf("Kill found %d processes, want the sleep alone", n)
		}
	})
	if err := s.Run(t.Context(), &reg); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if s.Exit().Code != 42 {
		t.Errorf("the command ended with %+v, want code 42", s.Exit())
	}
}

// A tracer inside the tree cannot work; it must be told so, and must not hang.
func TestTracerInside(t *testing.T) {
	strace := testutil.RequireTool(t, "strace")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	tr := watch(t, Config{Command: &source.Command{Path: strace, Argv: []string{"strace", "-f", "true"}, Stderr: null}})
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	if tr.source.Exit().Code == 0 {
		t.Error("strace succeeded under another tracer")
	}
	found := false
	for _, n := range tr.notices {
		found = found || strings.Contains(n, "(strace) calls ptrace(PTRACE_")
	}
	if !found {
		t.Errorf("notices %q: none tells why strace fails", tr.notices)
	}
}

// Thousands of tasks live at once, each with its own init, clone, exit, free.
func TestManyTasksAtOnce(t *testing.T) {
	n := testutil.Size(300, 300, 2000)
	prog := testutil.BuildC(t, "testdata/crowd.c", "-pthread")
	for _, what := range []string{"processes", "threads"} {
		t.Run(what, func(t *testing.T) {
			tr := watch(t, Config{Command: &source.Command{Argv: []string{prog, what, strconv.Itoa(n)}}})
			if tr.err != nil || tr.source.Exit().Code != 0 {
				t.Fatal(tr.err, tr.source.Exit())
			}
			for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Clone} {
				if got := len(tr.kind(k)); got != n {
					t.Errorf("%d %s events, want %d", got, k, n)
				}
			}
			for _, k := range []taskwatch.Kind{taskwatch.Exit, taskwatch.Free} {
				if got := len(tr.kind(k)); got != n+1 {
					t.Errorf("%d %s events, want %d and the command's", got, k, n)
				}
			}
		})
	}
}

// A fork whose parent is killed inside it leaves a child that nobody has
// announced. Whatever the timing, every task that lived has one clone and one
// free, and the run ends.
func TestKilledInsideFork(t *testing.T) {
	prog := testutil.BuildC(t, "testdata/killfork.c")
	tr := watch(t, Config{Command: &source.Command{Argv: []string{prog, "200"}}})
	if tr.err != nil || tr.source.Exit().Code != 0 {
		t.Fatal(tr.err, tr.source.Exit())
	}
	clones, frees := map[taskwatch.TaskID]int{}, map[taskwatch.TaskID]int{}
	for _, ev := range tr.kind(taskwatch.Clone) {
		clones[ev.Task.ID]++
	}
	for _, ev := range tr.kind(taskwatch.Free) {
		frees[ev.Task.ID]++
	}
	if len(clones) < 200 {
		t.Errorf("%d tasks were cloned, want at least the 200 forkers", len(clones))
	}
	for id, n := range clones {
		if n != 1 || frees[id] != 1 {
			t.Errorf("task %v: %d clones and %d frees, want one of each", id, n, frees[id])
		}
	}
	if len(frees) != len(clones)+1 {
		t.Errorf("%d tasks freed, want the %d that were cloned and the command", len(frees), len(clones))
	}
}

// Programs of the other word size are traced alike.
func Test32BitProgram(t *testing.T) {
	prog := testutil.BuildC(t, "testdata/ids.c", "-m32", "-static")
	testutil.Root(t)
	testutil.Require(t, testutil.NeedsToRun(prog, "32-bit programs"))
	tr := watch(t, Config{Command: &source.Command{Argv: []string{prog, "setresuid:11:12:13", "setgid:7", "fork"}}})
	if tr.err != nil || tr.source.Exit().Code != 0 {
		t.Fatal(tr.err, tr.source.Exit())
	}
	uids, gids := tr.kind(taskwatch.UID), tr.kind(taskwatch.GID)
	if len(uids) != 1 || uids[0].Task.UID != (taskwatch.IDs{11, 12, 13, 12}) {
		t.Errorf("%d uid events; want one to 11, 12, 13, 12", len(uids))
	}
	if len(gids) != 0 { // it is no longer root
		t.Errorf("%d gid events of a setgid that failed", len(gids))
	}
	if n := len(tr.kind(taskwatch.Clone)); n != 1 {
		t.Errorf("%d clone events, want 1", n)
	}
	execs := tr.kind(taskwatch.Exec)
	if len(execs) != 1 || strings.Join(execs[0].Task.Argv[1:], " ") != "setresuid:11:12:13 setgid:7 fork" {
		t.Errorf("exec events %v: want one with the four arguments", execs)
	}
}

// The tracer waits without telling the Go scheduler. The rest of the program
// must not notice: it collects garbage and runs its goroutines while a command
// does nothing at all.
func TestProgramRunsOnWhileCommandSleeps(t *testing.T) {
	var reg taskwatch.Registry
	ready := make(chan struct{})
	observe := []taskwatch.WatchOption{taskwatch.Observe()}
	if err := reg.Register(watching("ready", func(*taskwatch.Event) error { close(ready); return nil }, observe, taskwatch.Exec)); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Command: &source.Command{Path: "sleep", Argv: []string{"sleep", "1000"}}})
	if err != nil {
		t.Fatal(err)
	}
	// On one P the tracer's wait is in everybody's way.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var wg sync.WaitGroup
	wg.Go(func() {
		<-ready
		for range 20 { // each stops the world; the command sleeps through all
			runtime.GC()
		}
		if n := s.Kill(); n != 1 {
			t.Errorf("Kill found %d processes, want 1", n)
		}
	})
	if err := s.Run(t.Context(), &reg); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if s.Exit().Signal != int(unix.SIGKILL) {
		t.Errorf("the command ended with %+v before it was killed", s.Exit())
	}
}

// spin keeps all processors busy until the test ends, a minute at most.
func spin(t *testing.T) {
	t.Helper()
	for range 2 * runtime.NumCPU() {
		cmd := exec.Command("sh", "-c", "ulimit -t 60; while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}

// A tree that is killed while its tasks fork, on processors that have other
// work, ends: also tasks whose creators have died before they could say what
// they had made. And children of this process that are not the tracer's are
// nothing to wait for.
func TestEndOfContextAmongForks(t *testing.T) {
	prog := testutil.BuildC(t, "testdata/killfork.c")
	spin(t)
	rounds := testutil.Size(10, 30, 100)
	for i := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		if i == 0 {
			cancel() // before it has begun
		}
		m := &taskwatch.Module{Name: "cancel"}
		m.Watch(taskwatch.Exec, func(*taskwatch.Event) error {
			time.AfterFunc(time.Duration(i)*2*time.Millisecond/time.Duration(rounds), cancel)
			return nil
		}, taskwatch.Observe())
		var reg taskwatch.Registry
		if err := reg.Register(m); err != nil {
			t.Fatal(err)
		}
		src, err := New(Config{Command: &source.Command{Path: prog, Argv: []string{prog, "1000000"}}})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- src.Run(ctx, &reg) }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("round %d: %v", i, err)
			}
		case <-time.After(limit):
			t.Fatalf("round %d: Run has not returned", i)
		}
		cancel()
	}
}
