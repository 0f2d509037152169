//go:build amd64 || arm64

package sys

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// What is caught says who has sent it, as often as it was sent, and nothing is
// caught any more after Close.
func TestCatcher(t *testing.T) {
	const sig = syscall.Signal(40)
	for range 3 {
		c, err := NewCatcher([]syscall.Signal{unix.SIGPROF, sig})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewCatcher(nil); err == nil {
			t.Error("signals are caught twice")
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
	}
}
