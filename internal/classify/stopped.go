package classify

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// StoppedMap is the module's map of processes that it has stopped.
const StoppedMap = "stopped"

// stopped are the processes that the module has stopped so that they are moved
// before they go on. Its methods may be called from any goroutine.
type stopped struct {
	m *ebpf.Map
}

// openStopped opens the module's map. The file stays the caller's.
func openStopped(file *os.File) (*stopped, error) {
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("classify: %w", err)
	}
	m, err := ebpf.NewMapFromFD(fd)
	if err != nil {
		return nil, fmt.Errorf("classify: %w", err)
	}
	return &stopped{m}, nil
}

// Continue continues a process that is stopped.
func (s *stopped) Continue(pid int) error {
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

// ContinueAll continues all that are stopped, and those that the module is about to
// stop and has put into its map.
func (s *stopped) ContinueAll() (err error) {
	for range passes {
		list, whole := s.list()
		if whole && len(list) == 0 {
			return nil
		}
		var errs []error
		for pid, start := range list {
			// Again when the module finds no entry any more, which is after it has stopped
			// the process: the first one may have come before that.
			errs = append(errs, s.resume(pid, start), wake(pid, start))
		}
		err = errors.Join(errs...)
	}
	return err
}

// passes is how often ContinueAll looks for more: a process may be stopped meanwhile,
// or cannot be continued.
const passes = 10

// list returns the entries, all of them if none came or went meanwhile.
func (s *stopped) list() (list map[uint32]uint64, whole bool) {
	var pid uint32
	var start uint64
	list = map[uint32]uint64{}
	entries := s.m.Iterate()
	for entries.Next(&pid, &start) {
		list[pid] = start
	}
	delete(list, nobody)
	return list, entries.Err() == nil
}

// nobody is the key of the entry with which no process stays stopped.
const nobody uint32 = 0

// Begin lets the module stop processes, also after End.
func (s *stopped) Begin() error {
	if err := s.m.Delete(nobody); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("classify: %w", err)
	}
	return nil
}

// End continues all that are stopped, and has the module leave none stopped from then
// on: it may decide for a moment still, as when the process that has loaded it dies. See
// tell in modules/classify/classify.c.
func (s *stopped) End() error {
	full := s.ContinueAll() // there may be no room for another entry
	err := s.m.Put(nobody, uint64(0))
	if err != nil {
		err = fmt.Errorf("classify: %w", err)
	}
	return errors.Join(full, err, s.ContinueAll())
}

func (s *stopped) resume(pid uint32, start uint64) error {
	if err := wake(pid, start); err != nil {
		return err
	}
	if err := s.m.Delete(pid); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("classify: %w", err)
	}
	return nil
}

func wake(pid uint32, start uint64) error {
	if err := unlessEnded(procfs.Signal(int(pid), int(pid), int64(start), unix.SIGCONT)); err != nil {
		return fmt.Errorf("process %d stays stopped: %w", pid, err)
	}
	return nil
}

// Close closes the map.
func (s *stopped) Close() error { return s.m.Close() }
