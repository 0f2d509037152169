package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes the reader: by the kernel side when the buffer has something to
// read, by wake, or when time has passed.
type alarm struct {
	epoll, event int
}

func newAlarm(ring int) (*alarm, error) {
	a := &alarm{epoll: -1, event: -1}
	var err error
	if a.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("bpf: eventfd: %w", err)
	}
	if a.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, errors.Join(fmt.Errorf("bpf: epoll_create1: %w", err), a.close())
	}
	for _, fd := range []int{ring, a.event} {
		// Edge-triggered: otherwise a wait would end at once whenever there
		// is something to read, armed or not.
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}
		if err := unix.EpollCtl(a.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return nil, errors.Join(fmt.Errorf("bpf: epoll_ctl: %w", err), a.close())
		}
	}
	return a, nil
}

// wake ends the wait that is under way, or the next one.
func (a *alarm) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(a.event, one[:]) // fails only where it would be too many
}

// wait returns after d at the latest, rounded up to a millisecond.
func (a *alarm) wait(d time.Duration) error {
	var events [2]unix.EpollEvent
	ms := (d + time.Millisecond - 1) / time.Millisecond
	_, err := unix.EpollWait(a.epoll, events[:], int(ms))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("bpf: epoll_wait: %w", err)
	}
	return nil
}

func (a *alarm) close() error {
	var errs []error
	for _, fd := range []int{a.epoll, a.event} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}
