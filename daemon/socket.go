package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is the daemon's place in the file system. Who holds the lock of the
// file beside the socket owns the place, so a socket that is there all the
// same was left by a daemon that was killed.
type socket struct {
	net.Listener

	path string
	lock *os.File
	dir  string // to be removed, or ""
}

// listen takes the place and listens. Until it has set the owner and the mode
// of the socket, nobody but the daemon's own user can connect.
func listen(path string, group *group) (_ *socket, err error) {
	s := &socket{path: path}
	defer func() {
		if err != nil {
			err = fmt.Errorf("daemon: socket %s: %w", path, errors.Join(err, s.Close()))
		}
	}()
	dir := filepath.Dir(path)
	switch err := os.Mkdir(dir, 0o755); {
	case err == nil:
		s.dir = dir
	case errors.Is(err, fs.ErrExist):
	default:
		return s, err
	}
	if err := s.acquire(); err != nil {
		return s, err
	}
	if err := s.clear(); err != nil {
		return s, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	s.Listener, err = lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return s, err
	}
	s.Listener.(*net.UnixListener).SetUnlinkOnClose(false) // Close does, while it has the lock
	if group == nil {
		return s, nil
	}
	if err := os.Chown(path, -1, int(group.id)); err != nil {
		return s, fmt.Errorf("give it to the group %s: %w", group.name, err)
	}
	return s, os.Chmod(path, 0o660)
}

func (s *socket) lockPath() string { return s.path + ".lock" }

// acquire takes the lock, or returns ErrInUse. The file may be removed by its
// last owner between open and lock, hence the second look.
func (s *socket) acquire() error {
	for {
		f, err := os.OpenFile(s.lockPath(), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			holder := make([]byte, 32)
			n, _ := f.Read(holder)
			f.Close()
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return fmt.Errorf("lock %s: %w", s.lockPath(), err)
			}
			return fmt.Errorf("%w (pid %s); end it, or choose another socket", ErrInUse, strings.TrimSpace(string(holder[:n])))
		}
		ours, err1 := f.Stat()
		there, err2 := os.Stat(s.lockPath())
		if err1 == nil && err2 == nil && os.SameFile(ours, there) {
			s.lock = f
			if err := f.Truncate(0); err != nil {
				return err
			}
			_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
			return err
		}
		f.Close()
	}
}

// clear removes a socket that was left behind, and nothing else.
func (s *socket) clear() error {
	st, err := os.Lstat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return errors.New("there is a file that is no socket; remove it, or choose another path")
	}
	return os.Remove(s.path)
}

// Close stops listening, and removes what listen has made.
func (s *socket) Close() error {
	var errs []error
	if s.Listener != nil {
		if err := s.Listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
		if err := os.Remove(s.path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		s.Listener = nil
	}
	if s.lock != nil {
		errs = append(errs, os.Remove(s.lockPath()), s.lock.Close())
		s.lock = nil
	}
	if s.dir != "" {
		_ = os.Remove(s.dir) // somebody else may have put something there
		s.dir = ""
	}
	return errors.Join(errs...)
}

// group is the group that may read.
type group struct {
	name string
	id   uint32
}

// findGroup returns the group of a name or number, or nil for "".
func findGroup(name string) (*group, error) {
	if name == "" {
		return nil, nil
	}
	id := name
	if _, err := strconv.ParseUint(name, 10, 32); err != nil {
		g, err := user.LookupGroup(name)
		if err != nil {
			return nil, fmt.Errorf("daemon: there is no group %q; 'groupadd --system %s' makes one", name, name)
		}
		id = g.Gid
	}
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("daemon: group %q has the id %q, which is no number", name, id)
	}
	return &group{name: name, id: uint32(n)}, nil
}
