package sys

import (
	"os/exec"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// What runs on a thread of its own is never on the first one, nor on one with
// children, however many threads have some.
func TestOnThread(t *testing.T) {
	for range 20 {
		var started sync.WaitGroup
		for range 4 {
			started.Go(func() {
				cmd := exec.Command("sleep", "1000")
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				})
			})
		}
		started.Wait()
		threads := make(chan int)
		go OnThread(func() {
			if hasChildren() {
				t.Error("the thread has children")
			}
			threads <- unix.Gettid()
		})
		if tid := <-threads; tid == unix.Getpid() {
			t.Error("it is the first thread")
		}
	}
}
