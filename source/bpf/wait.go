package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes the reader: by the kernel side when the buffer has something to
// read, by wake, or when time has passed.
//
// It waits with Go's poller. In a system call that blocks, the runtime would
// take the processor away from the thread, have it fight for another one on
// return, and look after it every 20 µs for a while: at a thousand forks a
// second that takes a tenth to a third more CPU time.
type alarm struct {
	epoll int
	file  *os.File // of epoll
	conn  syscall.RawConn
	event int

	ready  func(fd uintptr) bool
	events [3]unix.EpollEvent
	err    error
}

func newAlarm(ring int) (*alarm, error) {
	a := &alarm{epoll: -1, event: -1}
	a.ready = a.look
	if err := a.open(ring); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *alarm) open(ring int) (err error) {
	if a.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("bpf: eventfd: %w", err)
	}
	if a.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("bpf: epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(a.epoll, true); err != nil { // which has os use the poller
		return fmt.Errorf("bpf: fcntl of an epoll: %w", err)
	}
	a.file = os.NewFile(uintptr(a.epoll), "epoll")
	if a.conn, err = a.file.SyscallConn(); err != nil {
		return fmt.Errorf("bpf: %w", err)
	}
	for _, fd := range []int{ring, a.event} {
		if err := a.add(fd); err != nil {
			return err
		}
	}
	return nil
}

// add makes fd, when it becomes readable, end a wait. It is edge-triggered:
// otherwise a wait would end at once whenever there is something to read,
// armed or not.
func (a *alarm) add(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(a.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("bpf: epoll_ctl: %w", err)
	}
	return nil
}

// wake ends the wait that is under way, or the next one.
func (a *alarm) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(a.event, one[:]) // fails only where it would be too many
}

// wait returns after d at the latest, or a millisecond later.
func (a *alarm) wait(d time.Duration) error {
	if err := a.file.SetReadDeadline(time.Now().Add(d)); err != nil {
		return fmt.Errorf("bpf: wait: %w", err)
	}
	if err := a.conn.Read(a.ready); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("bpf: wait: %w", err)
	}
	return a.err
}

// look reports whether anything has become readable since the last time.
func (a *alarm) look(uintptr) bool {
	n, err := unix.EpollWait(a.epoll, a.events[:], 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		a.err = fmt.Errorf("bpf: epoll_wait: %w", err)
		return true
	}
	return n > 0
}

func (a *alarm) close() error {
	var errs []error
	if a.file != nil {
		errs = append(errs, a.file.Close())
	} else if a.epoll >= 0 {
		errs = append(errs, unix.Close(a.epoll))
	}
	if a.event >= 0 {
		errs = append(errs, unix.Close(a.event))
	}
	return errors.Join(errs...)
}
