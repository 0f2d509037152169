package ptrace_test

import (
	"errors"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A task that is killed in the stop of a fork goes on to the stop of its exit.
// The message of that is no tid.
func TestMessageOfAStopThatIsOver(t *testing.T) {
	prog := testutil.BuildC(t, "testdata/killfork.c")
	runtime.LockOSThread() // and never unlocked: the tracer is a thread
	pid, err := syscall.ForkExec(prog, []string{prog, "1"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Ptrace: true}})
	if err != nil {
		t.Fatal(err)
	}
	// next returns the event of the task's next stop.
	next := func(tid int) int {
		t.Helper()
		var status unix.WaitStatus
		if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
			t.Fatal(err)
		}
		if !status.Stopped() {
			t.Fatalf("task %d has ended with %#x", tid, status)
		}
		return status.TrapCause()
	}
	next(pid) // the exec
	if err := sys.PtraceSetOptions(pid, unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACEFORK|unix.PTRACE_O_TRACEEXIT); err != nil {
		t.Fatal(err)
	}
	if err := sys.PtraceResume(unix.PTRACE_CONT, pid, 0); err != nil {
		t.Fatal(err)
	}
	if event := next(pid); event != unix.PTRACE_EVENT_FORK {
		t.Fatalf("event %d, want the fork", event)
	}
	child, err := sys.PtraceEventMessage(pid, unix.PTRACE_EVENT_FORK)
	if err != nil || unix.Kill(int(child), 0) != nil {
		t.Fatalf("the child is %d, %v", child, err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if event := next(pid); event != unix.PTRACE_EVENT_EXIT {
		t.Fatalf("event %d, want the exit", event)
	}
	if msg, err := sys.PtraceEventMessage(pid, unix.PTRACE_EVENT_FORK); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the fork's message is %d, %v; want ESRCH", msg, err)
	}
	if code, err := sys.PtraceEventMessage(pid, unix.PTRACE_EVENT_EXIT); err != nil || code != uint64(unix.SIGKILL) {
		t.Errorf("the exit code is %d, %v; want %d", code, err, unix.SIGKILL)
	}
	for _, tid := range []int{pid, int(child)} {
		_ = unix.Kill(tid, unix.SIGKILL)
		for {
			_ = sys.PtraceResume(unix.PTRACE_CONT, tid, 0) // out of the stop of its exit
			var status unix.WaitStatus
			if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
				t.Fatal(err)
			}
			if !status.Stopped() {
				break
			}
		}
	}
}
