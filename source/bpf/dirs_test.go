package bpf

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// dirsAtExit runs a shell, in which $D is dir, by the program that within names, and
// returns the working directory of each exit with a code above 10, in order, of the
// children of each shell.
func dirsAtExit(t *testing.T, dir, script string, within ...string) (shells [][]string) {
	t.Helper()
	exits := map[int][]string{}
	argv := append(slices.Clone(within), "sh", "-c", "D=$1\n"+script+"\nexit 0", "sh", dir)
	cmd := &source.Command{Path: argv[0], Argv: argv}
	w := newWatch(t, Config{Command: cmd}, taskwatch.AllKinds, func(ev *taskwatch.Event) bool {
		return ev.Kind == taskwatch.Exit || ev.Kind == taskwatch.Clone || ev.Kind == taskwatch.Init
	})
	born := map[taskwatch.TaskID]string{}
	for _, ev := range w.wait(t) {
		said := ev.Task.Cwd
		if ev.Missing.Has(taskwatch.FieldCwd) {
			said = "missing"
		}
		code := ev.Val >> 8 & 0xff
		switch {
		case ev.Kind == taskwatch.Clone:
			born[ev.Task.ID] = said
		case ev.Kind == taskwatch.Exit && code > 10:
			exits[ev.Task.PPID] = append(exits[ev.Task.PPID], said)
			if born[ev.Task.ID] != said {
				t.Errorf("exit %d: in %s at its clone, and in %s at its exit", code, born[ev.Task.ID], said)
			}
		}
	}
	return slices.Collect(maps.Values(exits))
}

// step is what a shell does, and the working directory that it has then: below the
// test's own, unless it is /.
type step struct{ do, at string }

// walk has a shell take steps, each of which a child of it follows.
func walk(t *testing.T, steps []step, within ...string) {
	t.Helper()
	dir := t.TempDir()
	var script strings.Builder
	want := make([]string, len(steps))
	for i, s := range steps {
		fmt.Fprintf(&script, "%s\n(exit 11)\n", s.do)
		want[i] = dir + s.at
		if s.at == "/" {
			want[i] = s.at
		}
	}
	got := dirsAtExit(t, dir, script.String(), within...)
	if len(got) != 1 {
		t.Fatalf("%d shells", len(got))
	}
	if !slices.Equal(got[0], want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got[0], "\n"), strings.Join(want, "\n"))
	}
}

// A directory is told once, and with each event there goes a number: a path that
// has changed has another one, whatever changed it.
func TestWorkingDirectoriesThatMove(t *testing.T) {
	walk(t, []step{
		{"mkdir -p $D/a/b $D/e/b; cd $D/a/b", "/a/b"},
		{"mv $D/a $D/c", "/c/b"},
		{"mv $D/c $D/a", "/a/b"},
		{"mv $D/a/b $D/a/B", "/a/B"},
		{"mv $D/a/B $D/a/b", "/a/b"},
		{"cd $D/e/b", "/e/b"},
		{"cd $D/a/b; rmdir $D/a/b", "/a/b (deleted)"},
		{"mkdir $D/a/b", "/a/b (deleted)"},
		{"cd $D/a/b", "/a/b"},
		{"cd $D", ""},
		{"cd /", "/"},
	})
}

func TestWorkingDirectoriesBelowMounts(t *testing.T) {
	within := []string{"unshare", "-m", "--propagation", "private"}
	testutil.Require(t, testutil.Need{
		What: "a mount namespace by unshare", Remedy: "run it outside of a chroot",
		Met: func() bool { return exec.Command(within[0], append(within[1:], "true")...).Run() == nil },
	})
	walk(t, []step{
		{"mkdir $D/e; mount -t tmpfs none $D/e; mkdir $D/e/x; cd $D/e/x", "/e/x"},
		{"mkdir -p $D/m/n; mount --move $D/e $D/m/n", "/m/n/x"},
		{"mv $D/m $D/o", "/o/n/x"},
	}, within...)
}

// More directories than are kept are told again, also when several processors tell
// at once.
func TestManyWorkingDirectories(t *testing.T) {
	dir := t.TempDir()
	const shells = 4
	n := testutil.Size(300, 1500, 10000)
	want := make([]string, n)
	for i := range want {
		want[i] = filepath.Join(dir, fmt.Sprintf("%05d", i))
		if err := os.Mkdir(want[i], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got := dirsAtExit(t, dir, fmt.Sprintf("for s in $(seq %d); do { for i in $D/*; do cd $i; (exit 11); done; exit 0; } & done; wait", shells))
	if len(got) != shells {
		t.Fatalf("%d shells, want %d", len(got), shells)
	}
	for _, dirs := range got {
		if len(dirs) != n {
			t.Fatalf("%d exits, want %d", len(dirs), n)
		}
		for i := range want {
			if dirs[i] != want[i] {
				t.Fatalf("exit %d is in %s, want %s", i, dirs[i], want[i])
			}
		}
	}
}
