package features

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// traceChild forks a child that asks to be traced, lets it get as far as the
// end of an exec of this very program, of which it runs nothing, and kills it.
// The fork happens even if the tracing is denied.
func traceChild() error {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess(procfs.Self, []string{"taskwatch-probe"}, &os.ProcAttr{
		Files: []*os.File{null, null, null},
		Sys:   &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return err
	}
	defer p.Release()
	var status syscall.WaitStatus
	stopped, err := wait(p.Pid, &status), error(nil)
	if stopped != nil {
		err = fmt.Errorf("wait for the traced child: %w", stopped)
	} else if !status.Stopped() || status.StopSignal() != syscall.SIGTRAP {
		err = fmt.Errorf("the traced child did not stop at its exec: wait status %#x", uint32(status))
	}
	if status.Exited() || status.Signaled() {
		return err
	}
	return errors.Join(err, syscall.Kill(p.Pid, syscall.SIGKILL), wait(p.Pid, &status))
}

func wait(pid int, status *syscall.WaitStatus) error {
	for {
		_, err := syscall.Wait4(pid, status, syscall.WALL, nil)
		if err != syscall.EINTR {
			return err
		}
	}
}
