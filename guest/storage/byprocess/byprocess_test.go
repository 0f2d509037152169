package byprocess

import (
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/guest/guesttest"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

type account struct{ execs, generation int }

func TestStorage(t *testing.T) {
	host := guesttest.New(t)
	accounts := New[account]()
	// The watchers of the package are called before those of a module or behind them.
	for _, behind := range []bool{false, true} {
		event := func(k taskwatch.Kind, n, parent uint64, pid, tid int, fn func(*guest.Task)) {
			t.Helper()
			task := host.Event(&taskwatch.Event{Kind: k, Task: &taskwatch.Task{
				ID: taskwatch.TaskID{Run: 1, N: n}, ParentID: taskwatch.TaskID{Run: 1, N: parent}, PID: pid, TID: tid,
			}})
			own := func(*guest.Task) {
				for kind, fn := range map[taskwatch.Kind]func(uint64, *guest.Task) int32{
					taskwatch.Attach: attach, taskwatch.Clone: clone, taskwatch.Free: free, taskwatch.Detach: detach,
				} {
					if k == kind {
						fn(0, task)
					}
				}
			}
			if behind {
				defer own(task)
			} else {
				own(task)
			}
			fn(task)
		}
		has := func(want account) func(*guest.Task) {
			return func(task *guest.Task) {
				t.Helper()
				if a := accounts.Get(task); a == nil || *a != want {
					t.Errorf("the value is %+v, want %+v", a, want)
				}
			}
		}
		none := func(task *guest.Task) {
			t.Helper()
			if a := accounts.Get(task); a != nil {
				t.Errorf("the value is %+v, want none", a)
			}
		}
		count := func(task *guest.Task) { accounts.Create(task).execs++ }
		nothing := func(*guest.Task) {}

		event(taskwatch.Attach, 1, 0, 10, 10, nothing)
		event(taskwatch.Attach, 2, 0, 10, 11, none)
		event(taskwatch.Exec, 1, 0, 10, 10, count)
		event(taskwatch.UID, 2, 0, 10, 11, has(account{execs: 1}))
		event(taskwatch.Init, 3, 2, 0, 0, has(account{execs: 1})) // of the creator
		event(taskwatch.Clone, 3, 2, 30, 30, func(task *guest.Task) {
			none(task)
			accounts.Inherit(task).generation++
		})
		event(taskwatch.Init, 4, 1, 0, 0, nothing)
		event(taskwatch.Clone, 4, 1, 10, 12, func(task *guest.Task) {
			if accounts.Inherit(task) != accounts.Get(task) || accounts.Len() != 2 {
				t.Error("a thread has a value of its own")
			}
		})
		event(taskwatch.Exit, 1, 0, 10, 10, has(account{execs: 1}))
		event(taskwatch.Free, 1, 0, 10, 10, has(account{execs: 1})) // there are other threads
		event(taskwatch.Exec, 2, 0, 10, 10, count)                  // the first one now
		event(taskwatch.Free, 4, 0, 10, 12, has(account{execs: 2}))
		event(taskwatch.Exit, 2, 0, 10, 10, has(account{execs: 2}))
		event(taskwatch.Detach, 2, 0, 10, 10, func(task *guest.Task) {
			none(task)
			if accounts.Create(task) != nil {
				t.Error("a value after the end")
			}
		})

		// The id is another process's before the last free.
		event(taskwatch.UID, 3, 0, 30, 30, has(account{execs: 1, generation: 1}))
		event(taskwatch.Clone, 5, 9, 30, 30, none)
		event(taskwatch.Exec, 5, 9, 30, 30, count)
		event(taskwatch.Free, 3, 0, 30, 30, none)
		event(taskwatch.Exit, 5, 0, 30, 30, has(account{execs: 1}))
		event(taskwatch.Attach, 7, 0, 30, 30, nothing) // by a source without init
		event(taskwatch.Clone, 7, 9, 30, 30, none)
		event(taskwatch.Exec, 7, 9, 30, 30, count)
		event(taskwatch.Free, 5, 0, 30, 30, none)
		event(taskwatch.UID, 7, 0, 30, 30, has(account{execs: 1}))
		event(taskwatch.GID, 7, 0, 30, 30, accounts.Delete)
		event(taskwatch.Exit, 7, 0, 30, 30, none)
		event(taskwatch.Free, 6, 1, 0, 0, none) // of a fork that has failed
		event(taskwatch.Free, 7, 0, 30, 30, none)
		if accounts.Len() != 0 || len(threads) != 0 || len(byPID) != 0 {
			t.Errorf("%d values, %d threads and %d processes are left", accounts.Len(), len(threads), len(byPID))
		}
	}
}
