package watchtest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// ControlGroup makes a control group of this test's own, and returns the root of
// the hierarchy and the group's path below it. It is removed with all that is in it.
func ControlGroup(t testing.TB) (root, group string) {
	t.Helper()
	testutil.Root(t)
	if root = procfs.UnifiedMount(); root == "" {
		testutil.Require(t, testutil.Need{What: "a mount of cgroup2", Remedy: "mount -t cgroup2 none /sys/fs/cgroup", Met: func() bool { return false }})
	}
	dir, err := os.MkdirTemp(root, "taskwatch-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		var dirs []string
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		slices.Reverse(dirs)
		for _, d := range dirs {
			err := unix.Rmdir(d)
			for end := time.Now().Add(10 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(end); err = unix.Rmdir(d) {
				time.Sleep(10 * time.Millisecond) // until those that have ended are gone
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	return root, strings.TrimPrefix(dir, root)
}
