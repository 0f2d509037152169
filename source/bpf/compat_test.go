package bpf

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source"
)

// Programs of either word size change ids once, and are seen to do so once,
// by the best hooks and by the exits of system calls.
func TestIDsOfEitherWordSize(t *testing.T) {
	testutil.Root(t)
	found, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { probe = probed }()
	off := errors.New("turned off for a test")
	poor := *found
	poor.LSM, poor.ModifyReturn, poor.FEntry = off, off, off
	for _, mode := range []string{"-m64", "-m32"} {
		for name, support := range map[string]*kernel.Support{"best hooks": found, "system calls": &poor} {
			t.Run(mode[1:]+"/"+name, func(t *testing.T) {
				prog := testutil.BuildC(t, "testdata/ids32.c", mode, "-static")
				if mode == "-m32" {
					testutil.Require(t, testutil.NeedsToRun(prog, "32-bit programs"))
				}
				probe = func() (*kernel.Support, error) { return support, nil }
				check := func(how string, evs []*taskwatch.Event) {
					t.Helper()
					uids, gids := 0, 0
					for _, ev := range evs {
						switch ev.Kind {
						case taskwatch.UID:
							uids++
							if want := (taskwatch.IDs{11, 12, 13, 12}); ev.Task.UID != want {
								t.Errorf("%s: the user ids are %v, want %v", how, ev.Task.UID, want)
							}
						case taskwatch.GID:
							gids++
							if want := (taskwatch.IDs{21, 22, 23, 22}); ev.Task.GID != want {
								t.Errorf("%s: the group ids are %v, want %v", how, ev.Task.GID, want)
							}
						}
					}
					if uids != 1 || gids != 1 {
						t.Errorf("%s: %d uid and %d gid events, want one of each", how, uids, gids)
					}
				}
				w := newWatch(t, Config{Command: &source.Command{Path: prog, Argv: []string{"ids32"}}}, taskwatch.AllKinds, nil)
				check("started by the source", w.wait(t))
				if mode == "-m32" && support.FEntry != nil && support.LSM != nil {
					return // the tracepoints of system calls are silent about 32-bit programs: see doc.go
				}
				w = newWatch(t, Config{PID: os.Getpid()}, taskwatch.AllKinds, nil)
				if err := exec.Command(prog).Run(); err != nil {
					t.Fatal(err)
				}
				check("started by somebody else", w.stop(t))
			})
		}
	}
}
