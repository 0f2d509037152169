package classify

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// StoppedMap is the module's map of processes that it has stopped.
const StoppedMap = "stopped"

// Stopped are the processes that the module has stopped so that they are moved
// before they go on. Its methods may be called from any goroutine.
type Stopped struct {
	m *ebpf.Map
}

// OpenStopped takes the module's map, which it owns from then on.
func OpenStopped(file *os.File) (*Stopped, error) {
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("classify: %w", err)
	}
	m, err := ebpf.NewMapFromFD(fd)
	if err != nil {
		return nil, fmt.Errorf("classify: %w", err)
	}
	return &Stopped{m}, nil
}

// Continue continues a process that is stopped.
func (s *Stopped) Continue(pid int) error {
	var start uint64
	err := s.m.Lookup(uint32(pid), &start)
	if err == nil {
		err = s.resume(uint32(pid), start)
	}
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return err
}

// ContinueAll continues all that are stopped.
func (s *Stopped) ContinueAll() error {
	var pid uint32
	var start uint64
	list := map[uint32]uint64{}
	for entries := s.m.Iterate(); entries.Next(&pid, &start); {
		list[pid] = start
	}
	var errs []error
	for pid, start := range list {
		errs = append(errs, s.resume(pid, start))
	}
	return errors.Join(errs...)
}

func (s *Stopped) resume(pid uint32, start uint64) error {
	err := unlessEnded(procfs.Signal(int(pid), int(pid), int64(start), unix.SIGCONT))
	if err != nil {
		return fmt.Errorf("process %d stays stopped: %w", pid, err)
	}
	if err := s.m.Delete(pid); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("classify: %w", err)
	}
	return nil
}

// Guard waits for the end of the process that has the other end of a pipe, and
// then continues what is stopped: it is for a process of its own, which outlives
// that one however it ends.
func (s *Stopped) Guard(pipe io.Reader) error {
	_, _ = io.Copy(io.Discard, pipe) // its end is all that matters
	return s.ContinueAll()
}

// Close closes the map.
func (s *Stopped) Close() error { return s.m.Close() }
