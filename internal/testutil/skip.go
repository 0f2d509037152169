package testutil

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Need is one thing that a test needs of the machine it runs on.
type Need struct {
	What   string      // for the report: "root", "the tool strace"
	Remedy string      // what would make the test run
	Met    func() bool // looks at the machine

	// Promised says that continuous integration has it: where TASKWATCH_CI
	// is 1, a test that misses it fails instead of being skipped.
	Promised bool
}

// NeedsRoot is met when the test runs with the user id 0.
var NeedsRoot = Need{
	What:     "root",
	Remedy:   "run the tests as root",
	Met:      func() bool { return os.Geteuid() == 0 },
	Promised: true,
}

// NeedsMountedRoot is met where / is a mount point, which it need not be after a
// chroot. There the kernel's paths begin above /, and no program can make its mounts
// private.
var NeedsMountedRoot = Need{
	What:   "a root directory that is a mount point",
	Remedy: "run the tests outside of a chroot",
	Met: func() bool {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, "/", 0, 0, &st)
		return err != nil || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 || st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0
	},
}

// NeedsNightly is met when TASKWATCH_NIGHTLY is 1, as in .ci/nightly. It is for
// tests that take long and have rarely found anything that others do not find.
var NeedsNightly = Need{
	What:   "the nightly run",
	Remedy: "set TASKWATCH_NIGHTLY=1, or run .ci/nightly",
	Met:    func() bool { return os.Getenv("TASKWATCH_NIGHTLY") == "1" },
}

// NeedsTime is met without -short. It is for tests that take seconds.
var NeedsTime = Need{
	What:   "time",
	Remedy: "run go test without -short",
	Met:    func() bool { return !testing.Short() },
}

// NeedsTool is met when a program of that name is in PATH.
func NeedsTool(name string) Need {
	return Need{
		What:   "the tool " + name,
		Remedy: "install " + name,
		Met: func() bool {
			_, err := exec.LookPath(name)
			return err == nil
		},
		Promised: true,
	}
}

// NeedsSource is met where a file of the source tree is, which a guest does not
// have beside the tests.
func NeedsSource(name string) Need {
	return Need{
		What:   "the source tree",
		Remedy: "run the test in a checkout",
		Met: func() bool {
			_, err := os.Stat(name)
			return err == nil
		},
		Promised: true,
	}
}

// NeedsKernel is met when the running kernel is at least that version.
func NeedsKernel(major, minor int) Need {
	return Need{
		What:   fmt.Sprintf("Linux %d.%d", major, minor),
		Remedy: "boot a newer kernel",
		Met: func() bool {
			var uts unix.Utsname
			if unix.Uname(&uts) != nil {
				return false
			}
			var have [2]int
			if n, _ := fmt.Sscanf(unix.ByteSliceToString(uts.Release[:]), "%d.%d", &have[0], &have[1]); n != 2 {
				return false
			}
			return slices.Compare(have[:], []int{major, minor}) >= 0
		},
	}
}

// NeedsToRun is met where the kernel takes the program, which is one of those
// that what names. Kernels for amd64 and arm64 can be built, and booted,
// without 32-bit programs. The program is run without arguments.
func NeedsToRun(program, what string) Need {
	return Need{
		What:   "a kernel that runs " + what,
		Remedy: "boot another kernel (CONFIG_IA32_EMULATION or CONFIG_COMPAT, without ia32_emulation=0)",
		Met:    func() bool { return !errors.Is(exec.Command(program).Run(), unix.ENOEXEC) },
	}
}

// Require skips the test unless every need is met.
func Require(t testing.TB, needs ...Need) {
	t.Helper()
	for _, need := range needs {
		if !need.Met() {
			need.miss(t, "missing here")
		}
	}
}

// Skip skips a test that was tried and could not run, with what it found. It
// fails where possible says that this machine can run the test: what it found
// is then a defect and no reason to skip. possible must not be nil.
//
// Where one of the Needs of this package fits, use [Require] before the test
// and [Need.Skip] after the attempt.
func Skip(t testing.TB, reason string, possible func() bool) {
	t.Helper()
	Need{What: reason, Remedy: "see the test", Met: possible}.Skip(t, "could not run")
}

// Skip skips a test that was tried and lacks n, judging by found. It fails
// where n is met, because the finding is then a defect and no reason to skip.
func (n Need) Skip(t testing.TB, found string) {
	t.Helper()
	if n.Met() {
		t.Fatalf("this machine can run the test (%s), but: %s", n.What, found)
	}
	n.miss(t, found)
}

func (n Need) miss(t testing.TB, found string) {
	t.Helper()
	if n.Promised && os.Getenv("TASKWATCH_CI") == "1" {
		t.Fatalf("needs %s: %s; TASKWATCH_CI=1 forbids this skip: %s", n.What, found, n.Remedy)
	}
	if !reports {
		t.Fatalf("needs %s: %s; a skip needs a TestMain that calls testutil.Main, which reports it", n.What, found)
	}
	skips.add(t.Name(), n.What, found)
	t.Skipf("needs %s: %s (to run it: %s)", n.What, found, n.Remedy)
}

// Nightly skips the test except in the nightly run.
func Nightly(t testing.TB) {
	t.Helper()
	Require(t, NeedsNightly)
}

// Long skips the test with -short.
func Long(t testing.TB) {
	t.Helper()
	Require(t, NeedsTime)
}

// Size returns how large a test is to be: a tenth or so with -short, and
// nightly as large as it can be.
func Size(short, usual, nightly int) int {
	switch {
	case NeedsNightly.Met():
		return nightly
	case testing.Short():
		return short
	}
	return usual
}

// Root skips the test unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	Require(t, NeedsRoot)
}

// RequireTool skips the test unless the program is in PATH, and returns its
// path.
func RequireTool(t testing.TB, name string) string {
	t.Helper()
	Require(t, NeedsTool(name))
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// skips are the tests skipped so far.
var skips skipList

type skipList struct {
	mu    sync.Mutex // tests run in parallel
	lines []string
}

func (l *skipList) add(test, what, found string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf("%s: needs %s: %s", test, what, found))
}

// report writes the list to w and appends it to file, if there is one.
func (l *skipList) report(w io.Writer, file string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		return nil
	}
	fmt.Fprintf(w, "testutil: %d skipped\n", len(l.lines))
	text := strings.Join(l.lines, "\n") + "\n"
	if _, err := io.WriteString(w, text); err != nil || file == "" {
		return err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
