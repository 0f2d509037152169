package ptrace

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// ways are those of testdata/names.c. Each is tried twice: the program is
// denied and must not run, then it is allowed and must.
var ways = []struct {
	name string
	late bool // nobody can be asked before the kernel has done it
}{
	{name: "plain"}, {name: "relative"}, {name: "dotdot"}, {name: "symlink"}, {name: "deepcwd"}, {name: "longpath"},
	{name: "self-fd"}, {name: "dev-fd"}, {name: "thread-self-fd"}, {name: "opath-fd"}, {name: "pid-fd"}, {name: "task-fd"},
	{name: "self-cwd"}, {name: "self-root"}, {name: "execveat"}, {name: "execveat-fd"}, {name: "memfd"}, {name: "magic-chain"},
	{name: "thread"}, {name: "thread-fd"}, {name: "vfork"}, {name: "int80"}, {name: "nodump", late: os.Geteuid() != 0},
	{name: "chroot-link"}, {name: "chroot-dotdot"}, {name: "userns"},
	{name: "script"}, {name: "script4"}, // the script is denied; its interpreter is no other program
	{name: "notify", late: true},
}

func TestVetoNames(t *testing.T) {
	bin := testutil.BuildC(t, "testdata/names.c")
	target := testutil.BuildC(t, "-static", "testdata/target.c")
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			vetoName(t, bin, target, way.name, false, way.late)
			vetoName(t, bin, target, way.name, true, way.late)
		})
	}
}

// vetoName has a program run a copy of target in one way. The guard goes by
// the file alone.
func vetoName(t *testing.T, bin, target, way string, deny, late bool) {
	t.Helper()
	dir := t.TempDir()
	program, mark := filepath.Join(dir, "denied-program"), filepath.Join(dir, "mark")
	name := "denied-program"
	if strings.HasPrefix(way, "script") {
		name = "denied-script"
	}
	copyFile(t, program, target, 0o755)
	asked, askedLate := 0, 0
	guard := watching("guard", func(ev *taskwatch.Event) error {
		file := ev.Task.Exe
		if !ev.Missing.Has(taskwatch.FieldExe) && (strings.HasSuffix(file, "/"+name) || strings.Contains(file, ":"+name)) {
			asked++
			if ev.Late {
				askedLate++
			}
			if deny {
				return syscall.EACCES
			}
		}
		return nil
	}, nil, taskwatch.Exec)
	tr := watch(t, Config{Path: bin, Argv: []string{bin, way, program, mark}, Dir: dir}, guard)
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	status := tr.source.Exit()
	if status.Code == 77 {
		testutil.Skip(t, "a machine that allows "+way, func() bool { return false })
	}
	err := unix.Access(mark, unix.F_OK)
	ran := err == nil
	switch {
	case deny && ran:
		t.Errorf("denied, it ran all the same; %d questions", asked)
	case deny && asked == 0:
		t.Errorf("denied, nobody was asked; %+v", status)
	case deny && !late && status.Code != 126:
		t.Errorf("denied, it ended with %+v and not with the error of its exec", status)
	case !deny && (!ran || status.Code != 42):
		t.Errorf("allowed, it did not run: mark %v, %+v, %d questions, %v", ran, status, asked, tr.errors)
	}
	if askedLate > 0 && !late {
		t.Errorf("%d of %d questions came late", askedLate, asked)
	}
	if asked > 1 {
		t.Errorf("%d questions about one exec", asked)
	}
}
