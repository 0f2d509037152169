// Package outfile opens the files that a program writes: streams, which grow
// line by line and which one writer has at a time, and documents, which are
// there as a whole or not at all.
package outfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// LockedError says that somebody else is writing a file.
type LockedError struct {
	Name string
	PID  int // the writer's, or 0 where the kernel does not tell
}

func (e *LockedError) Error() string {
	by := "another process is writing it"
	if e.PID != 0 {
		by = fmt.Sprintf("process %d is writing it", e.PID)
	}
	return fmt.Sprintf("%s is locked: %s", e.Name, by)
}

// Open opens a file for writing at its end, and makes it if need be. A regular
// file is locked as long as it is open, against whoever opens it in this way:
// then the error is a *[LockedError]. Unless its content is to be kept, it is
// emptied, but not before it is locked; if it is kept and its last line has no
// end, it gets one. The kernel puts every write at the end, so that a file that
// others cut or write to gets no holes.
//
// Processes that are started do not inherit the file.
func Open(name string, keep bool) (*os.File, error) { return open(name, keep, 0, 0o666) }

// OpenRecords opens a file as [Open] does that has records of that many bytes,
// and no lines. What is kept must be whole records.
func OpenRecords(name string, keep bool, size int) (*os.File, error) {
	return open(name, keep, size, 0o666)
}

// open is Open with the mode of a file that is made, or OpenRecords if there is a
// size.
func open(name string, keep bool, size int, mode os.FileMode) (*os.File, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, mode)
		if errors.Is(err, os.ErrPermission) {
			f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, mode) // one that may not be read
		}
		if err != nil {
			return nil, err
		}
		current, err := prepare(f, name, keep, size)
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		if current {
			return f, nil
		}
		_ = f.Close() // it was renamed before it was locked
	}
}

// prepare locks and empties a file, and reports whether it still has its name.
func prepare(f *os.File, name string, keep bool, size int) (current bool, err error) {
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return true, err // a terminal, a pipe, a device: as many writers as there are
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case err == unix.EWOULDBLOCK:
		return false, &LockedError{Name: name, PID: holder(st)}
	case err != nil && err != unix.ENOLCK && err != unix.EOPNOTSUPP && err != unix.EINVAL:
		return false, fmt.Errorf("lock %s: %w", name, err) // else the file system has no locks
	}
	if now, err := os.Stat(name); err != nil || !os.SameFile(now, st) {
		return false, nil
	}
	if !keep {
		return true, f.Truncate(0)
	}
	last := []byte{'\n'}
	if st, err = f.Stat(); err != nil || st.Size() == 0 {
		return true, err
	}
	if size > 0 {
		if st.Size()%int64(size) != 0 {
			err = fmt.Errorf("what it holds, %d bytes, is no whole number of records of %d", st.Size(), size)
		}
		return true, err
	}
	if _, err := f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
		_, err = f.Write([]byte{'\n'})
		return true, err
	}
	return true, nil
}

// holder returns the pid of the process that has locked a file, or 0.
func holder(st os.FileInfo) int {
	raw, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return procfs.LockHolder(raw.Dev, raw.Ino)
}
