package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// The tests drive the real program, as its users do.

// patient is how long a test waits for what must happen. It only bounds a
// failure.
const patient = 3 * time.Minute

var program struct {
	once sync.Once
	dir  string
	err  error
}

// tests removes the program after the tests.
type tests struct{ *testing.M }

func (m tests) Run() int {
	if where := os.Getenv(panicEnv); where != "" {
		fmt.Fprintln(os.Stderr, panics(where))
		return 0
	}
	code := m.M.Run()
	if err := sharedDaemon.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if program.dir != "" {
		os.RemoveAll(program.dir)
	}
	return code
}

func TestMain(m *testing.M) {
	// A signal that is ignored here would be in the programs under test, and
	// the tests may run under nohup. One that is caught is not inherited.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP)
	testutil.ReapOrphans()
	testutil.Main(tests{m})
}

// programEnv names a program that was built before, for machines without Go.
const programEnv = "TASKWATCH_PROGRAM"

// binary builds the program once and returns its path, where every user may
// execute it.
func binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(programEnv); path != "" {
		return path
	}
	program.once.Do(func() {
		if program.dir, program.err = os.MkdirTemp("", "taskwatch-cmd-"); program.err != nil {
			return
		}
		if program.err = os.Chmod(program.dir, 0o755); program.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", program.dir+"/", ".").CombinedOutput() // without what debuggers read: linked sooner
		if err != nil {
			program.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if program.err != nil {
		t.Fatal(program.err)
	}
	return filepath.Join(program.dir, "taskwatch")
}

// eachSource runs a test with every source that can run a command. The sources
// mostly wait, and do so side by side.
func eachSource(t *testing.T, test func(t *testing.T, source string)) {
	eachSourceAlone(t, func(t *testing.T, source string) {
		t.Parallel()
		test(t, source)
	})
}

// eachSourceAlone is [eachSource] for tests that ask how much time something takes.
func eachSourceAlone(t *testing.T, test func(t *testing.T, source string)) {
	eachAttaching(t, test)
	t.Run(daemon.SourceName, func(t *testing.T) {
		testutil.Root(t)
		testutil.Long(t)
		test(t, daemonSource+sharedDaemon.serving(t))
	})
}

// eachAttaching runs a test with every source that can attach to a process, too.
func eachAttaching(t *testing.T, test func(t *testing.T, source string)) {
	for _, s := range commandSources {
		if s.name == daemon.SourceName {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			if s.name == bpf.Name {
				testutil.Root(t)
				testutil.Long(t) // to load it takes a third of a second
			}
			test(t, s.name)
		})
	}
}

// daemonSource begins a source of eachSource that is the daemon's: two flags, as a
// shell reads them.
const daemonSource = daemon.SourceName + " --socket "

// splitSource returns a command line with both apart.
func splitSource(args []string) []string {
	for i, arg := range args {
		if socket, ok := strings.CutPrefix(arg, daemonSource); ok {
			return slices.Concat(args[:i], []string{daemon.SourceName, "--socket", socket}, args[i+1:])
		}
	}
	return args
}

// result is how a run of the program ended.
type result struct {
	status         int // 128+signal if a signal killed it
	stdout, stderr string
}

// cmd returns a run of the program that is not started yet.
func cmd(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, binary(t), splitSource(args)...)
	c.Dir = t.TempDir()
	c.WaitDelay = patient
	return c
}

// finish runs c and returns how it ended. What c has no place for is
// collected.
func finish(t testing.TB, c *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if c.Stdout == nil {
		c.Stdout = &stdout
	}
	if c.Stderr == nil {
		c.Stderr = &stderr
	}
	err := c.Run()
	if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
		t.Fatalf("%v: %v", c.Args, err)
	}
	return result{shellStatusOf(c.ProcessState), stdout.String(), stderr.String()}
}

func shellStatusOf(s *os.ProcessState) int {
	ws := s.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// tw runs the program.
func tw(t testing.TB, args ...string) result {
	t.Helper()
	return finish(t, cmd(t, args...))
}

// lines reads a recording.
func lines(t testing.TB, r io.Reader) (list []taskwatch.Item) {
	t.Helper()
	in := record.NewReader(r, "recording")
	for {
		l, err := in.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
}

// recorded runs a command and returns its events.
func recorded(t testing.TB, flags []string, argv ...string) []*taskwatch.Event {
	t.Helper()
	file := filepath.Join(t.TempDir(), "events.jsonl")
	args := append(append([]string{"run", "-f", "json", "-o", file}, flags...), "--")
	if r := tw(t, append(args, argv...)...); r.status != 0 || r.stderr != "" {
		t.Fatalf("%q: status %d, stderr %q", argv, r.status, r.stderr)
	}
	return eventsOf(t, file)
}

func eventsOf(t testing.TB, file string) (events []*taskwatch.Event) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, l := range lines(t, f) {
		if l.Start != nil {
			continue
		}
		if l.Event == nil {
			t.Fatalf("a line that is no event: %+v", l)
		}
		events = append(events, l.Event)
	}
	return events
}

// count returns how many events there are of each kind.
func count(events []*taskwatch.Event) (n [taskwatch.NumKinds]int) {
	for _, ev := range events {
		n[ev.Kind]++
	}
	return n
}

// eventually waits until what is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// screen collects what a process writes while it runs.
type screen = testutil.Log

// state returns the state of a process as /proc tells it, 0 if it is gone.
func state(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return rest[0]
}
