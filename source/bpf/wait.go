package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// alarm wakes the reader: by the kernel side when the buffer has something to
// read, by wake, or when time has passed.
//
// It waits with Go's poller, and for a timer of the kernel's. In a system call
// that blocks, the runtime would take the processor away from the thread, have
// it fight for another one on return, and look after it every 20 µs for a
// while; for a timer of the runtime's it wakes up its monitor as well.
type alarm struct {
	epoll int
	file  *os.File // of epoll
	conn  syscall.RawConn
	event int
	timer int

	ready  func(fd uintptr) bool
	events [3]unix.EpollEvent
	err    error
}

func newAlarm(ring int) (*alarm, error) {
	a := &alarm{epoll: -1, event: -1, timer: -1}
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
	if a.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return fmt.Errorf("bpf: timerfd_create: %w", err)
	}
	for _, fd := range []int{ring, a.event, a.timer} {
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

// wait returns after d at the latest, or a millisecond later. d is above 0.
func (a *alarm) wait(d time.Duration) error {
	if err := sys.SetTimer(a.timer, d); err != nil {
		return fmt.Errorf("bpf: timerfd_settime: %w", err)
	}
	if err := a.conn.Read(a.ready); err != nil {
		return fmt.Errorf("bpf: wait: %w", err)
	}
	return a.err
}

// look reports whether anything has become readable since the last time.
func (a *alarm) look(uintptr) bool {
	n, err := sys.EpollReady(a.epoll, a.events[:])
	if err != nil && !errors.Is(err, unix.EINTR) {
		a.err = fmt.Errorf("bpf: epoll_pwait: %w", err)
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
	for _, fd := range []int{a.event, a.timer} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}
