package enrich

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
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
	p, err := procfs.OpenProcess(pid)
	if err != nil {
		return nil, errors.Join(errNotInside, err)
	}
	defer p.Close()
	cgroups, err := p.Cgroups()
	if err != nil {
		return nil, errors.Join(errNotInside, err)
	}
	// The pid may be that of another process by now, or a recording's.
	if !inContainer(cgroups, id) {
		return nil, errNotInside
	}
	root, err := p.Root()
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
	ids, err := p.UIDs()
	if err != nil {
		return nil, errors.Join(errNotInside, err)
	}
	passwd, err := readPasswd(root)
	if err != nil {
		return nil, err
	}
	return parseUsers(string(passwd), ids), nil
}

// readPasswd reads a regular file of limited size. It does not leave the root, follows
// no link at the end of the path, and never waits for another process.
func readPasswd(root *os.File) ([]byte, error) {
	const path = "etc/passwd"
	fd, err := unix.Openat2(int(root.Fd()), path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
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

// inContainer reports whether one of the paths of a process is that of a container.
func inContainer(cgroups []string, id string) bool {
	return slices.ContainsFunc(cgroups, func(path string) bool { return locate(path).ID == id })
}

// parseUsers reads /etc/passwd. The keys are the ids of this machine. The first name of an id counts, as for getpwuid.
func parseUsers(passwd string, ids procfs.IDMap) map[uint32]string {
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
		if outside, ok := ids.Outside(inside); ok {
			if _, known := names[outside]; !known {
				names[outside] = f[0]
			}
		}
	}
	return names
}
