//go:build amd64 || arm64

package sys

import (
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What is caught says who has sent it, as often as it was sent, and nothing is
// caught any more after Close. Before Catch, the kernel's default is in place.
func TestCatcher(t *testing.T) {
	const sig = syscall.Signal(40)
	before := handlerOf(t, sig)
	for range 3 {
		const left = syscall.Signal(42)
		was := handlerOf(t, left)
		c, err := NewCatcher([]syscall.Signal{unix.SIGPROF, sig, left})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Leave([]syscall.Signal{left, 43}); err != nil || handlerOf(t, left) != was {
			t.Errorf("the handler of a signal that was left is %#x (%v), and it was %#x", handlerOf(t, left), err, was)
		}
		if handler := handlerOf(t, sig); handler != 0 {
			t.Errorf("before Catch the handler of signal %d is %#x, want the default", sig, handler)
		}
		if err := c.Catch(); err != nil {
			t.Fatal(err)
		}
		if other, err := NewCatcher(nil); err != nil || other.Catch() == nil {
			t.Errorf("signals are caught twice (%v)", err)
		}
		want := []syscall.Signal{unix.SIGPROF}
		for range 100 {
			want = append(want, sig)
		}
		for _, sig := range want {
			if err := unix.Kill(unix.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
			got, err := c.Next()
			if err != nil || got.Signal != int32(sig) || got.PID != int32(unix.Getpid()) || got.Code != 0 {
				t.Fatalf("got %+v, %v; want signal %d of this process", got, err, sig)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Next(); err == nil {
			t.Errorf("got %+v after all", got)
		}
		if after := handlerOf(t, sig); after != before {
			t.Errorf("after Close the handler of signal %d is %#x, and it was %#x", sig, after, before)
		}
	}
}

func handlerOf(t *testing.T, sig syscall.Signal) uintptr {
	t.Helper()
	action, err := swapSigaction(sig, nil)
	if err != nil {
		t.Fatal(err)
	}
	return action.handler
}

// What is ignored stays so, in all of this.
func TestCatcherIgnores(t *testing.T) {
	const sig = syscall.Signal(41)
	before, err := swapSigaction(sig, &sigaction{handler: ignored})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := swapSigaction(sig, &before); err != nil {
			t.Error(err)
		}
	}()
	c, err := NewCatcher([]syscall.Signal{sig})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Catch(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Kill(unix.Getpid(), sig), c.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Next(); err == nil {
		t.Errorf("got %+v, which is ignored", got)
	}
	if handler := handlerOf(t, sig); handler != ignored {
		t.Errorf("its handler is %#x", handler)
	}
}
