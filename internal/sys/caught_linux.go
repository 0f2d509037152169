//go:build amd64 || arm64

package sys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Catcher catches signals with a handler of its own, which Go's run time does
// not hear of: Go tells neither where a signal came from, nor that the same
// one came twice, nor of SIGPROF at all. One can catch at a time.
type Catcher struct {
	read *os.File
	old  map[syscall.Signal]sigaction
	set  unix.Sigset_t
}

// The flags are those of include/uapi/asm-generic/signal-defs.h.
const (
	saSigInfo = 0x00000004
	saOnStack = 0x08000000
)

// caughtFD is where the handler writes to, -1 while there is no catcher, and
// catching how many threads are in the handler.
var caughtFD, catching int32 = -1, 0

// handlerPC and restorerPC return the addresses of the handler and of what it
// returns to (0 where the kernel has that itself).
func handlerPC() uintptr
func restorerPC() uintptr

// NewCatcher takes the given signals away from Go's run time, which ignores most of
// them and ends for others with a dump of its own: until Catch, the kernel does what it
// does to a program that knows nothing of them. Signals that are ignored stay ignored.
func NewCatcher(signals []syscall.Signal) (*Catcher, error) {
	c := &Catcher{old: make(map[syscall.Signal]sigaction)}
	for _, sig := range signals {
		old, err := swapSigaction(sig, nil)
		if err == nil && old.handler != ignored {
			if _, err = swapSigaction(sig, &sigaction{}); err == nil {
				c.old[sig] = old
				c.set.Val[(sig-1)/64] |= 1 << ((sig - 1) % 64)
			}
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("sys: rt_sigaction of signal %d: %w", sig, err), c.Close())
		}
	}
	return c, nil
}

const ignored = 1 // SIG_IGN

// Catch catches the signals from now on.
func (c *Catcher) Catch() error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("sys: pipe2: %w", err)
	}
	// Not to lose signals while nobody reads; what an unprivileged user may
	// have of it is enough, too.
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, 1<<20)
	if !atomic.CompareAndSwapInt32(&caughtFD, -1, int32(fds[1])) {
		return errors.Join(errors.New("sys: signals are caught already"), unix.Close(fds[0]), unix.Close(fds[1]))
	}
	c.read = os.NewFile(uintptr(fds[0]), "signals")
	for sig := range c.old {
		action := sigaction{handler: handlerPC(), flags: saSigInfo | saOnStack | saRestart | restorerFlag, restorer: restorerPC(), mask: ^uint64(0)}
		if _, err := swapSigaction(sig, &action); err != nil {
			return fmt.Errorf("sys: rt_sigaction of signal %d: %w", sig, err)
		}
	}
	return nil
}

// Take has the calling thread, to which the calling goroutine is locked, take the
// signals even if this process was started with them blocked. Otherwise those would
// wait for ever. The other threads go on blocking them.
func (c *Catcher) Take() error {
	return os.NewSyscallError("rt_sigprocmask", unix.PthreadSigmask(unix.SIG_UNBLOCK, &c.set, nil))
}

// Next returns the next signal, and an error once Close was called and all are
// read; that ends it.
func (c *Catcher) Next() (Caught, error) {
	var got Caught
	var b [32]byte
	if _, err := io.ReadFull(c.read, b[:]); err != nil {
		return got, errors.Join(err, c.read.Close())
	}
	_, err := binary.Decode(b[:], binary.NativeEndian, &got)
	return got, err
}

// Leave has some of the signals mean what they meant before NewCatcher. It is to be
// called before Catch.
func (c *Catcher) Leave(signals []syscall.Signal) (err error) {
	for _, sig := range signals {
		if old, ours := c.old[sig]; ours {
			_, e := swapSigaction(sig, &old)
			err = errors.Join(err, e)
			delete(c.old, sig)
			c.set.Val[(sig-1)/64] &^= 1 << ((sig - 1) % 64)
		}
	}
	return err
}

// Close has signals mean what they meant before NewCatcher.
func (c *Catcher) Close() error {
	var errs []error
	for sig, old := range c.old {
		_, err := swapSigaction(sig, &old)
		errs = append(errs, err)
	}
	if c.read == nil { // nothing is caught
		return errors.Join(errs...)
	}
	fd := atomic.SwapInt32(&caughtFD, -1)
	for atomic.LoadInt32(&catching) != 0 { // one of them may be about to write
		runtime.Gosched()
	}
	return errors.Join(append(errs, unix.Close(int(fd)))...)
}
