package enrich

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPasswd limits the size of a container's file of users.
	maxPasswd = 1 << 20
	// maxReading limits the files that are read at once. A container's file may
	// be on a file system that never answers.
	maxReading = 16
	// readAgain is the time until a file is read again, or tried again.
	readAgain = 2 * time.Second
)

// users looks up user names in each container's own /etc/passwd. The container
// controls its content, so the names are only for display and never for a
// decision.
type users struct {
	mu      sync.Mutex // guards the fields below
	known   map[string]*roster
	reading int
}

// roster is what is known about the users of one container.
type roster struct {
	names   map[uint32]string // by the ids of this machine; nil while unknown
	reading bool
	again   time.Time
}

// of returns the name of a user of a container that the process pid is in. A user
// without a name is shown as a number.
func (u *users) of(id string, pid int, uid uint32) (string, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r := u.known[id]
	if r == nil {
		if u.known == nil || len(u.known) >= maxContainers {
			u.known = map[string]*roster{}
		}
		r = new(roster)
		u.known[id] = r
	}
	name, ok := r.names[uid]
	if ok {
		return name, true
	}
	if !r.reading && u.reading < maxReading && time.Now().After(r.again) {
		r.reading = true
		u.reading++
		go u.read(r, id, pid)
	}
	if r.names == nil {
		return "", false
	}
	return strconv.FormatUint(uint64(uid), 10), true
}

func (u *users) read(r *roster, id string, pid int) {
	names, err := usersOf(id, pid)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reading--
	r.reading, r.again = false, time.Now().Add(readAgain)
	switch {
	case err == nil:
		r.names = names
	case errors.Is(err, errNotInside):
		r.again = time.Time{} // another process may tell
	}
}

// errNotInside says that a process is not in the container at the moment.
var errNotInside = errors.New("enrich: not in the container")

// usersOf reads the users of the container id through its process pid.
func usersOf(id string, pid int) (map[uint32]string, error) {
	proc, err := openDir(unix.AT_FDCWD, "/proc/"+strconv.Itoa(pid))
	if err != nil {
		return nil, errors.Join(errNotInside, err)
	}
	defer proc.Close()
	cgroups, err := readAt(proc, "cgroup", 0)
	if err != nil {
		return nil, errors.Join(errNotInside, err)
	}
	// The pid may be that of another process by now, or a recording's.
	if !inContainer(string(cgroups), id) {
		return nil, errNotInside
	}
	root, err := openDir(int(proc.Fd()), "root")
	if err != nil {
		return nil, errors.Join(errNotInside, err)
	}
	defer root.Close()
	// A runtime joins the cgroup before it changes the root.
	if own, err := os.Stat("/"); err != nil {
		return nil, err
	} else if st, err := root.Stat(); err != nil {
		return nil, err
	} else if os.SameFile(own, st) {
		return nil, errNotInside
	}
	ids, err := readAt(proc, "uid_map", 0)
	if err != nil {
		return nil, errors.Join(errNotInside, err)
	}
	passwd, err := readPasswd(root)
	if err != nil {
		return nil, err
	}
	return parseUsers(string(passwd), string(ids)), nil
}

func readPasswd(root *os.File) ([]byte, error) {
	return readAt(root, "etc/passwd", unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
}

// inContainer reports whether the text of a cgroup file names a container in
// one of its hierarchies.
func inContainer(cgroups, id string) bool {
	for line := range strings.Lines(cgroups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) == 3 && locate(f[2]).ID == id {
			return true
		}
	}
	return false
}

func openDir(at int, path string) (*os.File, error) {
	fd, err := unix.Openat(at, path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// readAt reads a regular file of limited size below a directory. It follows no
// link at the end of the path, and never waits for another process.
func readAt(dir *os.File, path string, resolve uint64) ([]byte, error) {
	fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC, Resolve: resolve,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("enrich: %s is not a regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPasswd+1))
	if err == nil && len(text) > maxPasswd {
		err = fmt.Errorf("enrich: %s is longer than %d bytes", path, maxPasswd)
	}
	return text, err
}

// parseUsers reads /etc/passwd and /proc/PID/uid_map. The keys are the ids of
// this machine. The first name of an id counts, as for getpwuid.
func parseUsers(passwd, idMap string) map[uint32]string {
	names := map[uint32]string{}
	lines := bufio.NewScanner(strings.NewReader(passwd))
	for lines.Scan() {
		f := strings.Split(lines.Text(), ":")
		if len(f) < 4 || f[0] == "" || f[0][0] == '#' || f[0][0] == '+' || f[0][0] == '-' {
			continue
		}
		inside, err := strconv.ParseUint(f[2], 10, 32)
		if err != nil {
			continue
		}
		if outside, ok := outside(idMap, inside); ok {
			if _, known := names[outside]; !known {
				names[outside] = f[0]
			}
		}
	}
	return names
}

// outside returns this machine's number for a user id of a container.
func outside(idMap string, inside uint64) (uint32, bool) {
	for line := range strings.Lines(idMap) {
		var first, here, count uint64
		if n, _ := fmt.Sscan(line, &first, &here, &count); n == 3 && inside >= first && inside-first < count && here+inside-first < 1<<32-1 {
			return uint32(here + inside - first), true
		}
	}
	return 0, false
}
