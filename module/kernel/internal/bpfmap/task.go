package bpfmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// findKey returns the bytes of a key. Those of task storage are a descriptor, which
// done closes.
func (m *Map) findKey(text string) (key blob, done func(), err error) {
	if m.ofTasks() {
		tid, err := cvalue.ParseID(text, "task storage is a tid")
		if err != nil {
			return nil, nil, err
		}
		fd, err := taskFD(tid)
		if err != nil {
			return nil, nil, fmt.Errorf("task %d: %w", tid, err)
		}
		return fdKey(fd), func() { _ = unix.Close(fd) }, nil
	}
	key, err = ParseKey(m.Spec, text)
	return key, func() {}, err
}

// taskFD opens a pidfd of a task.
func taskFD(tid int) (int, error) {
	fd, err := unix.PidfdOpen(tid, unix.PIDFD_THREAD)
	if errors.Is(err, unix.EINVAL) { // Linux < 6.9
		fd, err = unix.PidfdOpen(tid, 0)
	}
	switch {
	case errors.Is(err, unix.ESRCH):
		return -1, fmt.Errorf("%w: there is no such task", module.ErrNoEntry)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return -1, fmt.Errorf("%w: threads that are not the first of their process need Linux 6.9", module.ErrUnreadable)
	}
	return fd, os.NewSyscallError("pidfd_open", err)
}

func fdKey(fd int) blob {
	key := make(blob, 4)
	binary.NativeEndian.PutUint32(key, uint32(fd))
	return key
}

// eachTask is each for task storage.
func (m *Map) eachTask(fn func(*entry) error) error {
	var r procfs.Reader
	return r.Tasks(func(_, tid int) error {
		fd, err := taskFD(tid)
		if err != nil {
			return nil // it is gone, or cannot be asked about
		}
		defer unix.Close(fd)
		e := entry{key: fdKey(fd), tid: tid, values: make([]blob, 1)}
		err = m.Lookup(e.key, &e.values[0])
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case err != nil:
			return err
		}
		return fn(&e)
	})
}
