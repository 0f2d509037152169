package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// cgroupID returns the id of a cgroup, which is the inode number of its
// directory.
func cgroupID(dir string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, fmt.Errorf("bpf: cgroup %s: %w", dir, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("bpf: cgroup %s: %w", dir, err)
	}
	if fs.Type != unix.CGROUP2_SUPER_MAGIC {
		return 0, fmt.Errorf("bpf: %s is not a cgroup of the unified hierarchy (cgroup v2); give a directory below its mount point", dir)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return 0, fmt.Errorf("bpf: %s is a file of a cgroup, not the cgroup; give its directory, %s", dir, filepath.Dir(dir))
	}
	return st.Ino, nil
}

// cgroupPath returns the path of a cgroup from the root of the hierarchy, or ""
// where that root cannot be seen from here, as in a namespace of cgroups.
func cgroupPath(dir string) string {
	dir, err := filepath.EvalSymlinks(dir)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return ""
	}
	top := dir
	for up := filepath.Dir(top); up != top; up = filepath.Dir(top) {
		if _, err := cgroupID(up); err != nil {
			break
		}
		top = up
	}
	// Every cgroup but the root has a type.
	if _, err := os.Lstat(filepath.Join(top, "cgroup.type")); !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if path := dir[len(top):]; len(path) < maxCgroupPath {
		return path
	}
	return ""
}

// maxCgroupPath is the size of scope_path in c/scope.h.
const maxCgroupPath = 4096

// scopePath returns the value of scope_path.
func scopePath(dir string) (path [maxCgroupPath]int8) {
	if dir == "" {
		return path
	}
	for i, c := range []byte(cgroupPath(dir)) {
		path[i] = int8(c)
	}
	return path
}

// cgroupScope follows the cgroup that is watched.
type cgroupScope struct {
	id     uint64 // 0 while there is none
	lookNS int64
}

// followCgroup looks whether the cgroup of Config.Cgroup is still the one that
// is watched. The kernel side is faster, where it knows the path: it has the new
// one before anything can be in it.
func (st *runner) followCgroup(at int64) {
	dir := st.src.cfg.Cgroup
	if dir == "" || at-st.scope.lookNS < int64(idleTick) {
		return
	}
	st.scope.lookNS = at
	id, err := cgroupID(dir)
	switch {
	case err == nil && id == st.scope.id:
	case err == nil:
		st.kernel.control.Store64(controlCgroup, id)
		st.scope.id = id
		st.notice(fmt.Sprintf("the cgroup %s was created again; watching it", dir))
		st.resync()
	case errors.Is(err, fs.ErrNotExist) && st.scope.id != 0:
		st.scope.id = 0
		st.notice(fmt.Sprintf("the cgroup %s was removed; if it is created again, it will be watched", dir))
	}
}

func (st *runner) notice(text string) {
	if f := st.src.cfg.OnNotice; f != nil {
		st.aside(func() { f(text) })
	}
}
