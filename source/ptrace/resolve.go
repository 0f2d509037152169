package ptrace

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// errUnknown says that what a name stands for could not be found out: the
// kernel may well find it.
var errUnknown = errors.New("ptrace: what a name stands for is not known")

// What names may be (include/linux/namei.h, include/uapi/linux/limits.h).
const (
	maxSymlinks  = 40
	maxComponent = 255
	procRootIno  = 1 // include/linux/proc_fs.h
)

// walker resolves names as the kernel would for one task: from the task's
// root and working directory, and with its own place for what a link of /proc
// says of whoever looks. It needs the rights to see those of the task.
type walker struct {
	tid  int
	root int // descriptors (O_PATH), closed by close
	cwd  int
	at   place // of root
	proc bool  // the last name has led through a /proc
}

// place is what tells one directory from another.
type place struct{ dev, ino, mount uint64 }

func newWalker(tid int) (*walker, error) {
	root, err := openPath(unix.AT_FDCWD, procfs.Path(tid, "root"), 0)
	if err != nil {
		return nil, errUnknown
	}
	w := &walker{tid: tid, root: root, cwd: -1}
	if w.cwd, err = openPath(unix.AT_FDCWD, procfs.Path(tid, "cwd"), 0); err != nil {
		w.close()
		return nil, errUnknown
	}
	if w.at, err = placeOf(root); err != nil {
		w.close()
		return nil, errUnknown
	}
	return w, nil
}

func (w *walker) close() {
	_ = unix.Close(w.root)
	if w.cwd >= 0 {
		_ = unix.Close(w.cwd)
	}
}

// open returns a new descriptor (O_PATH) of the file that an exec with these
// arguments names. Its error is the kernel's, or errUnknown.
func (w *walker) open(dirfd int, file string, flags uint64) (int, error) {
	if len(file) >= unix.PathMax {
		return -1, unix.ENAMETOOLONG
	}
	if file == "" && flags&unix.AT_EMPTY_PATH == 0 {
		return -1, unix.ENOENT
	}
	from := w.cwd
	if dirfd != unix.AT_FDCWD && !strings.HasPrefix(file, "/") {
		if dirfd < 0 {
			return -1, unix.EBADF
		}
		fd, err := openPath(unix.AT_FDCWD, procfs.Path(w.tid, "fd/"+strconv.Itoa(dirfd)), 0)
		if err != nil {
			if errors.Is(err, unix.ENOENT) {
				return -1, unix.EBADF
			}
			return -1, errUnknown
		}
		defer unix.Close(fd)
		from = fd
	}
	return w.walk(from, file, flags&unix.AT_SYMLINK_NOFOLLOW != 0)
}

// walk goes through the components of a name, from a directory that it leaves
// open.
func (w *walker) walk(from int, name string, noFollow bool) (int, error) {
	w.proc = false
	start := from
	if strings.HasPrefix(name, "/") {
		start = w.root
	}
	cur, err := unix.FcntlInt(uintptr(start), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, errUnknown
	}
	links := 0
	for {
		rest := strings.TrimLeft(name, "/")
		if rest == "" {
			if len(name) > 0 && !isDir(cur) {
				_ = unix.Close(cur)
				return -1, unix.ENOTDIR
			}
			return cur, nil
		}
		part, behind := rest, ""
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			part, behind = rest[:i], rest[i:]
		}
		next, text, err := w.step(cur, part, behind == "" && noFollow)
		switch {
		case err != nil:
			err = w.judge(cur, err)
			_ = unix.Close(cur)
			return -1, err
		case next >= 0:
			_ = unix.Close(cur)
			cur, name = next, behind
			continue
		}
		// A symbolic link with a text.
		if links++; links > maxSymlinks {
			_ = unix.Close(cur)
			return -1, unix.ELOOP
		}
		if strings.HasPrefix(text, "/") {
			_ = unix.Close(cur)
			if cur, err = unix.FcntlInt(uintptr(w.root), unix.F_DUPFD_CLOEXEC, 0); err != nil {
				return -1, errUnknown
			}
		}
		name = text + behind
	}
}

// step takes one component. It returns the descriptor of what is there, or the
// text of a symbolic link and -1.
func (w *walker) step(cur int, part string, noFollow bool) (int, string, error) {
	switch {
	case len(part) > maxComponent:
		return -1, "", unix.ENAMETOOLONG
	case part == "..":
		here, err := placeOf(cur)
		if err != nil {
			return -1, "", errUnknown
		}
		if here == w.at {
			part = "."
		}
	}
	next, err := openPath(cur, part, unix.O_NOFOLLOW)
	if err != nil {
		return -1, "", err
	}
	var st unix.Stat_t
	if err := unix.Fstat(next, &st); err != nil {
		_ = unix.Close(next)
		return -1, "", errUnknown
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return next, "", nil
	}
	defer unix.Close(next)
	if noFollow {
		return -1, "", unix.ELOOP
	}
	if isProc(next) {
		w.proc = true
		var dir unix.Stat_t
		if err := unix.Fstat(cur, &dir); err != nil {
			return -1, "", errUnknown
		}
		switch {
		case dir.Ino == procRootIno && (part == "self" || part == "thread-self"):
			text, err := w.self(cur, part == "thread-self")
			return -1, text, err
		case dir.Ino != procRootIno && isMagic(cur, part):
			// It leads to a file and not to a name, whoever follows it.
			fd, err := openPath(cur, part, 0)
			return fd, "", err
		}
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(next, "", buf)
	if err != nil {
		return -1, "", errUnknown
	}
	if n == 0 {
		return -1, "", unix.ENOENT
	}
	return -1, string(buf[:n]), nil
}

// isMagic reports whether a link of a /proc leads to a file itself. Before
// Linux 5.6, where the kernel cannot be asked, all below a process's
// directory are taken to do so; elsewhere there are hardly any.
func isMagic(dir int, name string) bool {
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if err == nil {
		_ = unix.Close(fd)
		return false
	}
	return !errors.Is(err, unix.ENOENT)
}

// self returns what the link self, or thread-self, of a /proc says to the
// task: its numbers in the pid namespace of that /proc.
func (w *walker) self(proc int, thread bool) (string, error) {
	tgids, tids, ok := numbersOf(procfs.Path(w.tid, ""))
	if !ok {
		return "", errUnknown
	}
	want, err := startOf(procfs.Path(w.tid, ""))
	if err != nil {
		return "", errUnknown
	}
	mount := procfs.FDPath(proc) + "/"
	for i := range tids {
		// The same task has the same start and the same numbers from there on.
		dir := mount + tgids[i] + "/task/" + tids[i]
		_, there, ok := numbersOf(dir)
		if !ok || len(there) != len(tids)-i || strings.Join(there, " ") != strings.Join(tids[i:], " ") {
			continue
		}
		if start, err := startOf(dir); err != nil || start != want {
			continue
		}
		if thread {
			return tgids[i] + "/task/" + tids[i], nil
		}
		return tgids[i], nil
	}
	return "", errUnknown
}

// numbersOf returns a task's process and thread numbers, from the pid
// namespace of the /proc down to its own.
func numbersOf(dir string) (tgids, tids []string, ok bool) {
	b, err := procfs.ReadFile(dir + "/status")
	if err != nil {
		return nil, nil, false
	}
	for line := range strings.Lines(string(b)) {
		if list, found := strings.CutPrefix(line, "NStgid:"); found {
			tgids = strings.Fields(list)
		} else if list, found := strings.CutPrefix(line, "NSpid:"); found {
			tids = strings.Fields(list)
		}
	}
	return tgids, tids, len(tids) > 0 && len(tids) == len(tgids)
}

func startOf(dir string) (int64, error) {
	b, err := procfs.ReadFile(dir + "/stat")
	if err != nil {
		return 0, err
	}
	stat, err := procfs.ParseStat(b)
	return stat.StartNS, err
}

// judge makes an error that is the tracer's alone errUnknown. Links of a
// process may be closed to the tracer and open to the process itself.
func (w *walker) judge(dir int, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENAMETOOLONG):
		return err
	case errors.Is(err, unix.EACCES) && !w.proc && !isProc(dir):
		return err
	}
	return errUnknown
}

func openPath(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func isProc(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PROC_SUPER_MAGIC
}

func isDir(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// placeOf identifies a directory. Kernels before 5.8 do not say which mount it
// is of.
func placeOf(fd int) (place, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO|unix.STATX_MNT_ID, &st)
	if err != nil {
		return place{}, err
	}
	return place{uint64(st.Dev_major)<<32 | uint64(st.Dev_minor), st.Ino, st.Mnt_id}, nil
}
