package procfs

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is a process that was there when it was opened. What is read of it is never
// that of another process which got its pid later.
type Process struct{ dir *os.File }

// OpenProcess opens a process, which must be closed.
func OpenProcess(pid int) (*Process, error) {
	dir, err := openDir(unix.AT_FDCWD, Path(pid, ""))
	if err != nil {
		return nil, err
	}
	return &Process{dir}, nil
}

// Close lets go of the process.
func (p *Process) Close() error { return p.dir.Close() }

// Root opens the root directory of the process, as a place for paths (O_PATH).
func (p *Process) Root() (*os.File, error) { return openDir(int(p.dir.Fd()), "root") }

// Cgroups reads cgroup: the path in each hierarchy, as the kernel shows it to this
// process.
func (p *Process) Cgroups() ([]string, error) {
	b, err := p.read("cgroup")
	return paths(b), err
}

// UIDs reads uid_map.
func (p *Process) UIDs() (IDMap, error) {
	b, err := p.read("uid_map")
	return ParseIDMap(b), err
}

func (p *Process) read(file string) ([]byte, error) {
	buf := make([]byte, firstRead)
	return readWhole(int(p.dir.Fd()), file, &buf)
}

func openDir(at int, path string) (*os.File, error) {
	fd, err := openAt(at, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// IDMap says which ids of a user namespace are which of another one.
type IDMap []idRange

type idRange struct{ inside, outside, count uint64 }

// ParseIDMap parses a uid_map or a gid_map. Lines that are none are left out.
func ParseIDMap(b []byte) (m IDMap) {
	for line := range strings.Lines(string(b)) {
		var r idRange
		if n, _ := fmt.Sscan(line, &r.inside, &r.outside, &r.count); n == 3 {
			m = append(m, r)
		}
	}
	return m
}

// Outside returns the id outside of the namespace of one inside, and false where it
// has none.
func (m IDMap) Outside(inside uint64) (uint32, bool) {
	for _, r := range m {
		if inside >= r.inside && inside-r.inside < r.count && r.outside+inside-r.inside < 1<<32-1 {
			return uint32(r.outside + inside - r.inside), true
		}
	}
	return 0, false
}
