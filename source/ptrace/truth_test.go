package ptrace_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/strace"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// build is a command that is run twice in the same place, once for the source
// and once for strace, and has to look the same to both.
type build struct {
	argv    []string
	dir     string
	env     []string
	prepare func()         // makes everything as it was
	random  *regexp.Regexp // names that differ from run to run
	all     bool           // also tasks that run no program; else how many there are may differ
}

// TestTruthMake watches a parallel build by make, gcc and the shell.
func TestTruthMake(t *testing.T) {
	makePath := testutil.RequireTool(t, "make")
	testutil.Require(t, testutil.NeedsCompiler("gcc"))
	dir := filepath.Join(t.TempDir(), "project")
	b := &build{
		argv: []string{makePath, "-j2"}, dir: dir, env: os.Environ(),
		prepare: func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(dir, os.DirFS("testdata/project")); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, "gen.sh"), 0o755); err != nil {
				t.Fatal(err)
			}
		},
		random: regexp.MustCompile(`/cc[A-Za-z0-9]{6}\b`),
		all:    true,
	}
	// At least: 14 compilations of gcc, cc1 and as, the link, and the recipes.
	b.compare(t, 50)
}

// TestTruthGoBuild watches the go command build a package of this module and
// all it needs, into an empty cache.
func TestTruthGoBuild(t *testing.T) {
	goPath := testutil.RequireTool(t, "go")
	testutil.Nightly(t) // TestTruthMake asks the same of a build by make
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(t.TempDir(), "cache")
	b := &build{
		argv: []string{goPath, "build", "-p", "2", "."}, dir: dir,
		env: append(os.Environ(), "GOCACHE="+filepath.Join(cache, "go"), "GOTMPDIR="+cache, "CGO_ENABLED=0",
			"GOFLAGS=", "GOTOOLCHAIN=local", "GOTELEMETRY=off"),
		prepare: func() {
			if err := os.RemoveAll(cache); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(cache, 0o755); err != nil {
				t.Fatal(err)
			}
		},
		random: regexp.MustCompile(`/go-build[0-9]+\b`),
	}
	b.compare(t, 50)
}

// compare runs the build under the source and under strace. least is how many
// programs it must have run for the comparison to mean anything.
func (b *build) compare(t *testing.T, least int) {
	t.Helper()
	b.prepare()
	ours := b.watched(t)
	b.prepare()
	theirs := b.straced(t)
	programs := 0
	for _, s := range theirs {
		programs += strings.Count(s, "exec ")
	}
	if programs < least {
		t.Errorf("strace saw %d programs run, want at least %d", programs, least)
	}
	onlyOurs, onlyTheirs := difference(ours, theirs), difference(theirs, ours)
	for _, s := range first(onlyOurs, 10) {
		t.Errorf("only the source says: %s", s)
	}
	for _, s := range first(onlyTheirs, 10) {
		t.Errorf("only strace says: %s", s)
	}
	t.Logf("%d tasks, %d programs", len(theirs), programs)
	if t.Failed() {
		t.Logf("%d of %d are only the source's, %d of %d only strace's", len(onlyOurs), len(ours), len(onlyTheirs), len(theirs))
	}
}

// describe says what one task did: the programs it ran and how it ended.
func (b *build) describe(execs []string, end string) string {
	return b.random.ReplaceAllString(strings.Join(append(execs, end), ", "), "/RANDOM")
}

func program(exe string, argv []string) string { return fmt.Sprintf("exec %s %q", exe, argv) }

// watched runs the build under the source.
func (b *build) watched(t *testing.T) []string {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	src, err := ptrace.New(ptrace.Config{
		Command: &source.Command{Path: b.argv[0], Argv: b.argv, Env: b.env, Dir: b.dir, Stdin: null, Stdout: null, Stderr: null},
	})
	if err != nil {
		t.Fatal(err)
	}
	execs := map[*taskwatch.Task][]string{}
	var list []string
	m := &taskwatch.Module{Name: "truth"}
	m.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
		execs[ev.Task] = append(execs[ev.Task], program(ev.Task.Exe, ev.Task.Argv))
		return nil
	}, taskwatch.Observe())
	m.Watch(taskwatch.Exit, func(ev *taskwatch.Event) error {
		if ran := execs[ev.Task]; b.all || ran != nil {
			end := fmt.Sprintf("exited %d", ev.Exit.Code)
			if ev.Exit.Signal != 0 {
				end = "killed by " + unix.SignalName(unix.Signal(ev.Exit.Signal))
			}
			list = append(list, b.describe(ran, end))
		}
		return nil
	}, taskwatch.Observe())
	var reg taskwatch.Registry
	if err := reg.Register(m); err != nil {
		t.Fatal(err)
	}
	if err := src.Run(t.Context(), &reg); err != nil {
		t.Fatal(err)
	}
	if status := src.Exit(); status != (taskwatch.ExitStatus{Group: true}) {
		t.Fatalf("%s failed under the source: %+v", b.argv[0], status)
	}
	return list
}

// straced runs the build under strace.
func (b *build) straced(t *testing.T) []string {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report")
	argv := append(strace.Command(t, report), b.argv...)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = b.dir, b.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	tasks, err := strace.ParseFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, task := range tasks {
		if !task.Ended {
			t.Errorf("strace does not say how task %d ended", task.TID)
		}
		if !b.all && task.Execs == nil {
			continue
		}
		var execs []string
		for _, e := range task.Execs {
			exe, argv := b.loaded(t, e)
			execs = append(execs, program(exe, argv))
		}
		end := fmt.Sprintf("exited %d", task.Code)
		if task.Signal != "" {
			end = "killed by " + task.Signal
		}
		list = append(list, b.describe(execs, end))
	}
	return list
}

// loaded says what the kernel runs when asked for a program: the file behind
// symbolic links, and for a script its interpreter.
func (b *build) loaded(t *testing.T, e strace.Exec) (exe string, argv []string) {
	t.Helper()
	path := e.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(b.dir, path)
	}
	argv = e.Argv
	if line, ok := scriptLine(t, path); ok {
		// The rest of the line is one argument, whatever it holds.
		interpreter, arg, _ := strings.Cut(line, " ")
		path = interpreter
		argv = []string{interpreter}
		if arg = strings.TrimSpace(arg); arg != "" {
			argv = append(argv, arg)
		}
		argv = slices.Concat(argv, []string{e.Path}, e.Argv[1:])
	}
	exe, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return exe, argv
}

// scriptLine returns what stands behind the #! of a script.
func scriptLine(t *testing.T, path string) (string, bool) {
	t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrPermission) {
		return "", false // may be executed, not read: no script
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, 256)
	n, err := f.Read(head)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	line, ok := strings.CutPrefix(line, "#!")
	return strings.TrimSpace(line), ok
}

// difference returns what a holds more often than b.
func difference(a, b []string) []string {
	count := map[string]int{}
	for _, s := range b {
		count[s]++
	}
	var more []string
	for _, s := range a {
		if count[s]--; count[s] < 0 {
			more = append(more, s)
		}
	}
	return more
}

func first(list []string, n int) []string { return list[:min(n, len(list))] }

// TestDifference is the proof that the comparison can fail.
func TestDifference(t *testing.T) {
	for _, c := range []struct{ a, b, want []string }{
		{[]string{"x", "y"}, []string{"y", "x"}, nil},
		{[]string{"x", "x", "y"}, []string{"y", "x"}, []string{"x"}},
		{[]string{"x"}, []string{"x", "y"}, nil},
		{[]string{"x", "z"}, nil, []string{"x", "z"}},
	} {
		if got := difference(c.a, c.b); !slices.Equal(got, c.want) {
			t.Errorf("difference(%q, %q) = %q, want %q", c.a, c.b, got, c.want)
		}
	}
}
