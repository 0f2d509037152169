package procfs

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// hierarchy is one line of a cgroup file: where a task is in one hierarchy of
// cgroups.
type hierarchy struct {
	id   uint64 // 0 is the unified one
	name string // its controllers, or name=NAME; "" for the unified one
	path string
}

// systemd is the hierarchy that the machine's manager makes for itself where the
// controllers have hierarchies of their own (cgroup v1).
const systemd = "name=systemd"

func hierarchies(b []byte) (list []hierarchy) {
	for line := range bytes.Lines(b) {
		id, rest, ok := strings.Cut(string(bytes.TrimSuffix(line, []byte("\n"))), ":")
		name, path, both := strings.Cut(rest, ":")
		if name == "" { // the kernel says so of the unified hierarchy where a cgroup was removed
			path = strings.TrimSuffix(path, " (deleted)")
		}
		if ok && both {
			list = append(list, hierarchy{number([]byte(id)), name, path})
		}
	}
	return list
}

// paths returns those of all hierarchies.
func paths(b []byte) (list []string) {
	for _, h := range hierarchies(b) {
		list = append(list, h.path)
	}
	return list
}

// manager returns the hierarchy that tells where a task belongs: the unified one,
// unless the task is at its root and has a place in another one. Of these it is
// the one named systemd, or else the one with the lowest number. source/bpf does
// the same in c/place.h.
func manager(list []hierarchy) (best hierarchy) {
	for i, h := range list {
		if i == 0 || h.rank() < best.rank() {
			best = h
		}
	}
	return best
}

// rank is lower for a hierarchy that tells more. An unknown path is not the root.
func (h *hierarchy) rank() uint64 {
	const unified, ofSystemd, root = 0, 1, 1 << 32
	switch {
	case h.path == "/":
		return root + h.id
	case h.id == 0:
		return unified
	case h.name == systemd:
		return ofSystemd
	}
	return ofSystemd + h.id
}

// ParseCgroup returns the path in a cgroup file that tells where the task belongs,
// on machines with cgroup v1 as well.
func ParseCgroup(b []byte) string { return manager(hierarchies(b)).path }

// Hierarchies says which hierarchies of cgroup v1 are in use: how many, and the
// number of the one named systemd, or 0.
func Hierarchies() (n int, numberOfSystemd uint64) {
	b, err := ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, 0
	}
	for _, h := range hierarchies(b) {
		if h.id == 0 {
			continue
		}
		n++
		if h.name == systemd {
			numberOfSystemd = h.id
		}
	}
	return n, numberOfSystemd
}

// Cgroup reads cgroup, see [ParseCgroup]. In a namespace of cgroups, where the
// kernel shows paths from the namespace's root, it returns the path from the root
// of all, or "" if that cannot be known.
func (r *Reader) Cgroup(pid, tid int) (string, error) {
	h, err := r.manager(pid, tid)
	return h.path, err
}

// Unified reads cgroup, and returns where a process is in the unified hierarchy, as
// the kernel shows it to this process.
func (r *Reader) Unified(pid int) (string, error) {
	b, err := r.read(pid, 0, "cgroup")
	if err != nil {
		return "", err
	}
	for _, h := range hierarchies(b) {
		if h.id == 0 && h.name == "" {
			return h.path, nil
		}
	}
	return "", errors.New("the kernel has no unified hierarchy of cgroups")
}

func (r *Reader) manager(pid, tid int) (hierarchy, error) {
	b, err := r.read(pid, tid, "cgroup")
	if err != nil {
		return hierarchy{}, err
	}
	list := hierarchies(b)
	if inCgroupNamespace() {
		r.absolute(list)
	}
	h := manager(list)
	if v1 := func(h hierarchy) bool { return h.id != 0 }; h.path == "/" && slices.ContainsFunc(list, v1) {
		// The kernel says so of a task that exits, wherever it is in cgroup v1.
		if s, err := r.Stat(pid, tid); err != nil || s.Exiting() {
			h.path = ""
		}
	}
	return h, nil
}

var inCgroupNamespace = sync.OnceValue(func() bool {
	initial, err := InInitialNamespace(CgroupNamespace)
	return err == nil && !initial
})

// absolute makes the paths of a namespace those from the root of all. The kernel's
// own first thread is there: "/../.." says that the namespace's root lies two
// levels below. A path that shares a part with that root stays unknown.
func (r *Reader) absolute(list []hierarchy) {
	const kthreadd = 2
	var roots []hierarchy
	if s, err := r.Stat(kthreadd, 0); err == nil && s.Kthread() {
		if b, err := r.read(kthreadd, 0, "cgroup"); err == nil {
			roots = hierarchies(b)
		}
	}
	for i := range list {
		h := &list[i]
		at := slices.IndexFunc(roots, func(root hierarchy) bool { return root.id == h.id })
		if at < 0 {
			h.path = ""
			continue
		}
		h.path = fromRoot(roots[at].path, h.path)
	}
}

// fromRoot returns the path from the root of all, given how that root looks from
// the namespace.
func fromRoot(root, path string) string {
	rest, below := strings.CutPrefix(path, strings.TrimSuffix(root, "/"))
	switch {
	case !below || rest == "/.." || strings.HasPrefix(rest, "/../") || rest != "" && rest[0] != '/':
		return ""
	case rest == "":
		return "/"
	}
	return rest
}

// cgroupID returns the inode of the directory that Cgroup gives the path of.
func (r *Reader) cgroupID(pid, tid int) (uint64, bool) {
	h, err := r.manager(pid, tid)
	if err != nil || h.path == "" || inCgroupNamespace() { // where the mounts may begin below the root
		return 0, false
	}
	dir, ok := cgroupMounts()[h.name]
	if !ok {
		return 0, false
	}
	var st unix.Stat_t
	if unix.Stat(dir+h.path, &st) != nil {
		return 0, false
	}
	return st.Ino, true
}

// UnifiedMount returns where the root of the unified hierarchy is mounted, or "".
func UnifiedMount() string { return cgroupMounts()[""] }

// cgroupMounts returns where the root of each hierarchy is mounted, by its name.
var cgroupMounts = sync.OnceValue(func() map[string]string {
	dirs := map[string]string{}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return dirs
	}
	own, err := ReadFile("/proc/self/cgroup")
	if err != nil {
		return dirs
	}
	for line := range strings.Lines(string(b)) {
		mount, fs, _ := strings.Cut(line, " - ")
		m, f := strings.Fields(mount), strings.Fields(fs)
		if len(m) < 5 || len(f) < 3 || m[3] != "/" || f[0] != "cgroup" && f[0] != "cgroup2" {
			continue
		}
		options := strings.Split(f[2], ",")
		for _, h := range hierarchies(own) {
			is := f[0] == "cgroup2" && h.id == 0
			if f[0] == "cgroup" && h.id != 0 {
				is = slices.Contains(options, strings.Split(h.name, ",")[0])
			}
			if _, known := dirs[h.name]; is && !known {
				dirs[h.name] = m[4]
			}
		}
	}
	return dirs
})
