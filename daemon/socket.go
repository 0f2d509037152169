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

	"github.com/taskwatch/taskwatch/internal/procfs"
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
func listen(path string, group *group) (*socket, error) { return listenOn("unix", path, group) }

// listenOn is listen for sockets of another network: unixpacket.
func listenOn(network, path string, group *group) (_ *socket, err error) {
	s := &socket{path: path}
	defer func() {
		if err != nil {
			err = fmt.Errorf("daemon: socket %s: %w", path, errors.Join(err, s.Close()))
		}
	}()
	if err := s.makeDir(filepath.Dir(path)); err != nil {
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
	s.Listener, err = lc.Listen(context.Background(), network, path)
	if err != nil {
		return s, err
	}
	s.Listener.(*net.UnixListener).SetUnlinkOnClose(false) // Close does, while it has the lock
	if group == nil {
		return s, nil
	}
	return s, s.open(group)
}

// makeDir makes the directory of the socket where it is one that a boot takes
// away: directly below /run, or below the user's own runtime directory. Any
// other that is not there is more likely a slip.
func (s *socket) makeDir(dir string) error {
	_, err := os.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if own := os.Getenv("XDG_RUNTIME_DIR"); parent != "/run" && parent != "/var/run" && (own == "" || parent != filepath.Clean(own)) {
		return fmt.Errorf("there is no directory %s; create it, or choose another path", dir)
	}
	switch err := os.Mkdir(dir, 0o755); {
	case err == nil:
		s.dir = dir
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	return nil
}

// open lets the group connect. What it changes is the socket that it has
// looked at, whatever becomes of its path meanwhile.
func (s *socket) open(group *group) error {
	fd, err := unix.Open(s.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Geteuid() || st.Nlink != 1 {
		return errors.New("another process has put another file in its place; choose a directory to which only you can write")
	}
	if err := unix.Fchownat(fd, "", -1, int(group.id), unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("give it to the group %s: %w", group.name, err)
	}
	const mode = 0o660
	err = unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH) // since Linux 6.6
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		err = os.Chmod(procfs.FDPath(fd), mode)
	}
	if err != nil {
		return fmt.Errorf("let the group %s connect: %w", group.name, err)
	}
	return nil
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
		return errors.New("there is a file that is not a socket; remove it, or choose another path")
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
		return nil, fmt.Errorf("daemon: group %q has the id %q, which is not a number", name, id)
	}
	return &group{name: name, id: uint32(n)}, nil
}
