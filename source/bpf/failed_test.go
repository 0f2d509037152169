package bpf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// failingEnv has the test binary try to execute what a directory has and has not,
// and say what came of it.
const failingEnv = "TASKWATCH_TEST_FAILING"

func failExecs(dir string) {
	for _, name := range []string{"nothing", "noright", "noformat", "directory"} {
		path := filepath.Join(dir, name)
		err := unix.Exec(path, []string{name, "an argument"}, nil)
		fmt.Println(path, int(err.(syscall.Errno)))
	}
	os.Exit(0)
}

// failedSink wants execs that fail, and no event.
type failedSink struct {
	taskwatch.Sink
	mu   sync.Mutex // held while take is called
	take func(*taskwatch.FailedExec)
}

func newFailedSink(take func(*taskwatch.FailedExec)) *failedSink {
	return &failedSink{Sink: taskwatch.NewSink(nil, func(taskwatch.Item) {}), take: take}
}

func (s *failedSink) WantsFailedExecs() bool { return true }

func (s *failedSink) Take(it taskwatch.Item) {
	if it.Failed != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.take(it.Failed)
	}
}

// Execs that fail are told with what was tried and the error that the caller got.
// A test with strace is where strace is; this one is for every kernel.
func TestExecsThatFail(t *testing.T) {
	testutil.Root(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"noright": 0o644, "noformat": 0o755} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var got, args []string
	s := newFailedSink(func(f *taskwatch.FailedExec) {
		got = append(got, fmt.Sprint(f.Path, " ", int(f.Errno)))
		args = append(args, strings.Join(f.Argv, "|"))
	})
	w := newWatchOf(t, Config{Command: &source.Command{
		Path: self, Argv: []string{self}, Env: append(os.Environ(), failingEnv+"="+dir), Stdin: null, Stdout: out, Stderr: null,
	}}, 0, 0, s, nil)
	w.wait(t)
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for _, errno := range []syscall.Errno{unix.ENOENT, unix.EACCES, unix.ENOEXEC} {
		if !slices.ContainsFunc(want, func(s string) bool { return strings.HasSuffix(s, fmt.Sprint(" ", int(errno))) }) {
			t.Errorf("nothing fails with %v: %q", errno, want)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("told are\n%q\nand the caller got\n%q", got, want)
	}
	if argv := []string{"nothing|an argument", "noright|an argument", "noformat|an argument", "directory|an argument"}; !slices.Equal(args, argv) {
		t.Errorf("arguments are %q, want %q", args, argv)
	}
}

// What a program of either word size has tried is told, also where it is relative to
// a descriptor.
func TestExecsThatFailOfEitherWordSize(t *testing.T) {
	testutil.Root(t)
	for _, mode := range []string{"-m64", "-m32"} {
		t.Run(mode[1:], func(t *testing.T) {
			prog := testutil.BuildC(t, "testdata/execs.c", mode, "-static")
			if mode == "-m32" {
				testutil.Require(t, testutil.NeedsToRun(prog, "32-bit programs"))
			}
			var got []string
			s := newFailedSink(func(f *taskwatch.FailedExec) {
				got = append(got, fmt.Sprintf("%q %t %d %s %q", f.Path, f.ByFD, f.FD, unix.ErrnoName(f.Errno), f.Argv))
			})
			newWatchOf(t, Config{Command: &source.Command{Path: prog, Argv: []string{"execs"}}}, 0, 0, s, nil).wait(t)
			const argv = ` ["execs" "an argument"]`
			want := []string{
				`"/no/such/program" false 0 ENOENT` + argv, `"no/such/program" true 77 ENOENT` + argv, `"/no/such/program" false 0 ENOENT` + argv,
				`"no/such/program" false 0 ENOENT` + argv, `"" true 78 EBADF` + argv,
			}
			if !slices.Equal(got, want) {
				t.Errorf("told are\n%q\nwant\n%q", got, want)
			}
		})
	}
}
