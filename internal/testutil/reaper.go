package testutil

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// reaperEnv is set below a reaper.
const reaperEnv = "TASKWATCH_TEST_REAPER"

// ReapOrphans has orphans reaped as soon as they end. It is the first thing that
// TestMain does in a package with tests that leave orphans and wait until the
// kernel has freed them: the first process of a machine or of a container may
// reap only now and then, or never.
//
// It runs the tests in a child of this process, which stays behind as the new
// parent of each orphan and ends with the status of the tests; in the tests
// themselves it does nothing. They cannot reap by themselves: a wait for any child
// takes the statuses that package os waits for, and a source takes the
// children of its process for those of the command.
func ReapOrphans() {
	if os.Getenv(reaperEnv) != "" {
		return
	}
	code, err := reap()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testutil: cannot reap orphans:", err)
		code = 1
	}
	os.Exit(code)
}

// reap runs this program once more and returns its exit code.
func reap() (code int, err error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	// What ends this process by a signal is meant for the tests.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM)
	runtime.LockOSThread()       // the tests are killed when this thread ends
	self, err := os.Executable() // by its name, which the tests then have as well
	if err != nil {
		return 0, err
	}
	tests, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env: append(os.Environ(), reaperEnv+"=1"), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, err
	}
	go func() {
		for sig := range signals {
			_ = unix.Kill(tests, sig.(syscall.Signal)) // fails if they have ended
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case pid == tests && status.Signaled():
			return 0, fmt.Errorf("the tests were ended by the signal %v", status.Signal())
		case pid == tests:
			return status.ExitStatus(), nil
		}
	}
}
