package daemon

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// openOurs opens a source of this process and what it starts. What others do on the
// machine, and how much of it is lost, is no matter of a test of every event then.
func openOurs(ready func(), short func(*source.Shortage)) (source.Source, error, error) {
	src, err := bpf.New(bpf.Config{PID: os.Getpid(), OnReady: ready, OnShortage: short})
	return src, nil, err
}

// A command that the daemon watches is seen as one that a source of its own
// watches.
func TestConformanceOfCommands(t *testing.T) {
	testutil.Root(t)
	usual := freeWait
	freeWait = 50 * time.Second // a busy machine may be slow to free
	t.Cleanup(func() { freeWait = usual })
	r := start(t, Config{Open: openOurs})
	watchtest.Source(t, watchtest.Config{MaxArgv: 128 << 10, No32: true, Short: testing.Short(), New: func(t testing.TB, cmd watchtest.Command) watchtest.Instance {
		src, err := r.Client.Command(t.Context(), CommandSourceConfig{Command: source.Command{
			Path: cmd.Path, Argv: cmd.Argv, Env: cmd.Env, Dir: cmd.Dir, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
		}})
		if err != nil {
			t.Fatal(err)
		}
		return watchtest.Instance{Source: src, Exit: src.Exit, EventSource: bpf.Name}
	}})
}

// watchedCommand is a shell that a daemon watches, and that reads its script line by
// line.
type watchedCommand struct {
	*CommandSource
	script *os.File
	cancel context.CancelFunc
	result chan error

	mu      sync.Mutex // guards what follows
	execs   []string   // the last arguments of programs that were run
	exits   int
	losses  int
	starts  int
	notices []string
}

func watchCommand(t *testing.T, c *Client, cfg CommandSourceConfig) *watchedCommand {
	t.Helper()
	in, script, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	w := &watchedCommand{script: script, result: make(chan error, 1)}
	cfg.Command.Path, cfg.Command.Stdin, cfg.Command.Stdout, cfg.Command.Stderr = testutil.RequireTool(t, "sh"), in, null, null
	cfg.OnNotice = func(text string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notices = append(w.notices, text)
	}
	if w.CommandSource, err = c.Command(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	var reg taskwatch.Registry
	if err := reg.Attach(taskwatch.NewSink(taskwatch.WantAll(taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit)), w.take)); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(t.Context())
	go func() { w.result <- w.Run(ctx, &reg) }()
	t.Cleanup(func() {
		w.cancel()
		w.script.Close()
	})
	w.say(t, "/bin/true first")
	eventually(t, "the first program is seen", func() bool { return w.saw("first") })
	return w
}

func (w *watchedCommand) take(it taskwatch.Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case it.Loss != nil:
		w.losses++
	case it.Start != nil:
		w.starts++
	case it.Event != nil && it.Event.Kind == taskwatch.Exit:
		w.exits++
	case it.Event != nil && len(it.Event.Task.Argv) > 0:
		w.execs = append(w.execs, it.Event.Task.Argv[len(it.Event.Task.Argv)-1])
	}
}

// saw reports whether a program with that last argument was run.
func (w *watchedCommand) saw(last string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.execs, last)
}

// told reports whether a notice has that text.
func (w *watchedCommand) told(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(strings.Join(w.notices, "\n"), text)
}

// say gives the shell a line.
func (w *watchedCommand) say(t *testing.T, line string) {
	t.Helper()
	if _, err := w.script.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// end waits for the end of Run.
func (w *watchedCommand) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.result:
		return err
	case <-time.After(patient):
		t.Fatal("Run does not end")
		return nil
	}
}

// When the daemon ends for good, the command goes on, and Run ends with it and with
// an error that says so.
func TestCommandOfADaemonThatEnds(t *testing.T) {
	testutil.Root(t)
	r := start(t, Config{})
	w := watchCommand(t, r.Client, CommandSourceConfig{Patience: 50 * time.Millisecond})
	r.stop(t)
	eventually(t, "it is said that the command goes on", func() bool { return w.told("what it does from here on is not seen") })
	w.say(t, "/bin/true unseen")
	w.say(t, "exit 7")
	err := w.end(t)
	if gone := new(GoneError); !errors.As(err, &gone) || !strings.Contains(err.Error(), r.socket) {
		t.Errorf("Run returned %v, want that the daemon is gone", err)
	}
	if exit := w.Exit(); exit.Code != 7 {
		t.Errorf("the command ended with %+v, want 7", exit)
	}
	if !w.told("the command goes on, and its events wait for the daemon") || w.saw("unseen") {
		t.Errorf("notices %q, programs %q", w.notices, w.execs)
	}
}

// Behind a restart of the daemon the tree is watched again: processes from before,
// and new ones.
func TestCommandOfADaemonThatIsRestarted(t *testing.T) {
	testutil.Root(t)
	cfg := Config{Socket: openDir(t) + "/taskwatch.sock"}
	r := start(t, cfg)
	w := watchCommand(t, r.Client, CommandSourceConfig{})
	r.stop(t)
	eventually(t, "it is said that the daemon is away", func() bool { return w.told("has ended the stream") })
	w.say(t, "/bin/true unseen")
	start(t, cfg)
	eventually(t, "it is watched again", func() bool { return w.told("begins anew") })
	w.say(t, "/bin/true again")
	eventually(t, "a program is seen", func() bool { return w.saw("again") })
	w.say(t, "kill -TERM $$")
	if err := w.end(t); err != nil {
		t.Error(err)
	}
	if exit := w.Exit(); exit.Signal != int(unix.SIGTERM) {
		t.Errorf("the command ended with %+v, want SIGTERM", exit)
	}
	if w.losses == 0 || w.starts != 1 {
		t.Errorf("%d losses and %d starts, want a loss and a start", w.losses, w.starts)
	}
}

// Kill and the end of the context reach descendants, those of a daemon's kind too,
// and Run returns when their ends are told.
func TestCommandsTreeIsKilled(t *testing.T) {
	testutil.Root(t)
	r := start(t, Config{})
	for name, kill := range map[string]func(*watchedCommand) int{
		"Kill":    func(w *watchedCommand) int { return w.Kill() },
		"context": func(w *watchedCommand) int { w.cancel(); return 3 },
	} {
		t.Run(name, func(t *testing.T) {
			w := watchCommand(t, r.Client, CommandSourceConfig{})
			w.say(t, "sleep 1000 & (setsid sleep 1001 &)")
			eventually(t, "its descendants run", func() bool { return w.saw("1000") && w.saw("1001") })
			if n := kill(w); n != 3 {
				t.Errorf("%d processes were killed, want 3", n)
			}
			if err := w.end(t); err != nil {
				t.Error(err)
			}
			if exit := w.Exit(); exit.Signal != int(unix.SIGKILL) {
				t.Errorf("the command ended with %+v", exit)
			}
			if w.exits != 5 { // true, the subshell, and the three
				t.Errorf("%d exits were told, want 5", w.exits)
			}
			if n := w.Kill(); n != 0 || w.Signal(unix.SIGTERM) != unix.ESRCH {
				t.Errorf("after the end %d processes were killed, and a signal was taken", n)
			}
		})
	}
}

// A stop is told behind what the command did before.
func TestStopsOfCommandsAreTold(t *testing.T) {
	testutil.Root(t)
	r := start(t, Config{})
	stops := make(chan syscall.Signal, 1)
	w := watchCommand(t, r.Client, CommandSourceConfig{Command: source.Command{OnStop: func(sig syscall.Signal) { stops <- sig }}})
	w.say(t, "kill -STOP $$")
	select {
	case sig := <-stops:
		if sig != unix.SIGSTOP {
			t.Errorf("stopped by %v", sig)
		}
	case <-time.After(patient):
		t.Fatal("no word of the stop")
	}
	if err := w.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.script.Close()
	if err := w.end(t); err != nil || w.Exit().Code != 0 {
		t.Errorf("Run returned %v, and the command ended with %+v", err, w.Exit())
	}
}

// What cannot be run is said as by other sources, and nothing is left of it.
func TestCommandThatCannotBeRun(t *testing.T) {
	testutil.Root(t)
	r := start(t, Config{})
	var failed *source.StartError
	if _, err := r.Client.Command(t.Context(), CommandSourceConfig{Command: source.Command{Path: "taskwatch-no-such-program"}}); !errors.As(err, &failed) || failed.ShellStatus() != 127 {
		t.Errorf("a program that is not there: %v", err)
	}
	text := t.TempDir() + "/text"
	if err := os.WriteFile(text, []byte("no program\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	src, err := r.Client.Command(t.Context(), CommandSourceConfig{Command: source.Command{Path: text}})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Run(t.Context(), new(taskwatch.Registry)); !errors.As(err, &failed) || !errors.Is(err, unix.ENOEXEC) {
		t.Errorf("a file that is no program: %v", err)
	}
	if err := src.Run(t.Context(), new(taskwatch.Registry)); err == nil || !strings.Contains(err.Error(), "once") {
		t.Errorf("a second run: %v", err)
	}
	killed, err := r.Client.Command(t.Context(), CommandSourceConfig{Command: source.Command{Path: "true"}})
	if err != nil {
		t.Fatal(err)
	}
	if n := killed.Kill(); n != 0 {
		t.Errorf("%d processes killed before the start", n)
	}
	if err := killed.Run(t.Context(), new(taskwatch.Registry)); !errors.As(err, &failed) || !strings.Contains(err.Error(), "killed before it ran") {
		t.Errorf("a command that was killed before: %v", err)
	}
	nobody := NewClient("/nonexistent/taskwatch.sock")
	defer nobody.Close()
	if _, err := nobody.Command(t.Context(), CommandSourceConfig{Command: source.Command{Path: "true"}}); err == nil || !strings.Contains(err.Error(), "taskwatch serve") {
		t.Errorf("without a daemon: %v", err)
	}
}
