package procfs

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs/timens"
)

// Reader reads the files of tasks. The zero value reads /proc. It reuses its
// buffers, so one goroutine may use it at a time; what it returns is
// independent of it.
//
// Methods that take a pid and a tid read /proc/PID/task/TID, or /proc/PID if
// tid is 0. A task that is gone gives ENOENT or ESRCH, see [Gone]; a file that
// the caller may not read gives EACCES or EPERM. Ids are reused: whoever must
// know whose file was read compares [Stat.StartNS].
type Reader struct {
	Root string // "" stands for /proc

	path []byte
	buf  []byte
}

// Gone reports whether an error of a Reader says that there is no such task.
func Gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}

// Stat reads stat.
func (r *Reader) Stat(pid, tid int) (Stat, error) {
	b, err := r.read(pid, tid, "stat")
	if err != nil {
		return Stat{}, err
	}
	s, err := ParseStat(b)
	s.StartNS -= timens.Own().Boot // /proc shows it by the clock of this process
	return s, err
}

// Status reads status.
func (r *Reader) Status(pid, tid int) (Status, error) {
	b, err := r.read(pid, tid, "status")
	if err != nil {
		return Status{}, err
	}
	return parseStatus(b)
}

// Cmdline reads cmdline: the arguments of the process's program, unless it has
// overwritten them. Of an exited process and of a kernel thread it is empty.
func (r *Reader) Cmdline(pid int) ([]string, error) {
	b, err := r.read(pid, 0, "cmdline")
	if err != nil {
		return nil, err
	}
	return parseCmdline(b), nil
}

// Title is Cmdline for a process that may have run for long: overwritten says
// that the process has put something else there, as far as that shows. What it
// has written has another length, or leaves more than one NUL at its end.
func (r *Reader) Title(pid int) (argv []string, overwritten bool, err error) {
	b, err := r.read(pid, 0, "cmdline")
	if err != nil {
		return nil, false, err
	}
	argv = parseCmdline(bytes.TrimRight(b, "\x00"))
	padded, n := bytes.HasSuffix(b, []byte{0, 0}), uint64(len(b))
	stat, err := r.Stat(pid, 0)
	if err != nil {
		return nil, false, err
	}
	return argv, padded || stat.ArgLen != 0 && stat.ArgLen != n, nil
}

// IO reads io, see parseIO.
func (r *Reader) IO(pid, tid int) (read, write uint64, err error) {
	b, err := r.read(pid, tid, "io")
	if err != nil {
		return 0, 0, err
	}
	read, write = parseIO(b)
	return read, write, nil
}

// SchedNS reads from schedstat the exact CPU time of a task, in nanoseconds.
func (r *Reader) SchedNS(pid, tid int) (int64, error) {
	b, err := r.read(pid, tid, "schedstat")
	if err != nil {
		return 0, err
	}
	return int64(number(b)), nil
}

// CPU reads the CPU time of a task: exactly, if the kernel has schedstat, and
// else in clock ticks.
func (r *Reader) CPU(pid, tid int) (userNS, systemNS int64, err error) {
	stat, err := r.Stat(pid, tid)
	if err != nil {
		return 0, 0, err
	}
	if total, err := r.SchedNS(pid, tid); err == nil {
		userNS, systemNS = SplitCPU(total, stat.STimeNS)
		return userNS, systemNS, nil
	}
	return stat.UTimeNS, stat.STimeNS, nil
}

// SplitCPU divides a task's exact CPU time. The kernel knows the exact sum
// (sum_exec_runtime) and counts the halves in clock ticks; as it does itself
// (cputime_adjust in kernel/sched/cputime.c), time in which no tick fell is
// taken to be user time.
func SplitCPU(totalNS, systemNS int64) (user, system int64) {
	systemNS = min(systemNS, totalNS)
	return totalNS - systemNS, systemNS
}

// Exe returns the path of the process's program, see [Links.Exe].
func (r *Reader) Exe(pid int) (string, error) { return r.Links(pid).Exe() }

// Cwd returns the working directory of the process's leader, see [Links.Cwd].
func (r *Reader) Cwd(pid int) (string, error) { return r.Links(pid).Cwd() }

// Links reads where links of one process lead, as paths in the process's own
// root. That root is read once for all of them.
type Links struct {
	r    *Reader
	pid  int
	root string
	err  error
}

// Links begins to read links of a process. If it is gone, each of them says so.
func (r *Reader) Links(pid int) Links {
	root, err := r.link(pid, "root") // first: it goes with the process
	return Links{r, pid, root, err}
}

// Exe returns the path of the program. The kernel adds " (deleted)" where there is
// no such file any more. Kernel threads and exited processes give ENOENT.
func (l Links) Exe() (string, error) { return l.read("exe") }

// Cwd returns the working directory of the leader. The kernel adds " (deleted)"
// where there is no such directory any more.
func (l Links) Cwd() (string, error) { return l.read("cwd") }

// InRoot makes a path as the caller's root has it one of the process's own root.
func (l Links) InRoot(path string) (string, error) { return below(l.root, path), l.err }

// read reads a link of which the kernel says where it leads from the caller's root.
func (l Links) read(file string) (string, error) {
	if l.err != nil {
		return "", l.err
	}
	path, err := l.r.link(l.pid, file)
	return below(l.root, path), err
}

// below returns the path that a file has in a root. What is not below the root
// keeps its path.
func below(root, path string) string {
	rest, ok := strings.CutPrefix(path, root)
	switch {
	case root == "/" || !ok:
	case rest == "":
		return "/"
	case rest[0] == '/':
		return rest
	}
	return path
}

// Tasks calls fn with the pid and tid of every task there is, the leader of a
// process before its other threads. Tasks that come and go meanwhile may or
// may not be among them. An error of fn ends the walk and is returned.
func (r *Reader) Tasks(fn func(pid, tid int) error) error {
	pids, err := numbers(r.root())
	if err != nil {
		return err
	}
	for _, pid := range pids {
		tids, err := r.Threads(pid)
		if Gone(err) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return err
		}
		for _, tid := range tids { // in the order of their creation
			if err := fn(pid, tid); err != nil {
				return err
			}
		}
	}
	return nil
}

// Threads returns the tids of a process.
func (r *Reader) Threads(pid int) ([]int, error) {
	return numbers(r.root() + "/" + strconv.Itoa(pid) + "/task")
}

// Children returns the pids of the processes that a task has created and that
// its process has not reaped. Kernels without CONFIG_PROC_CHILDREN do not say.
func (r *Reader) Children(pid, tid int) ([]int, error) {
	b, err := r.read(pid, tid, "children")
	if err != nil {
		return nil, err
	}
	return parseChildren(b), nil
}

// numbers returns the entries of a directory that are numbers.
func numbers(dir string) ([]int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var list []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			list = append(list, n)
		}
	}
	return list, nil
}

func (r *Reader) root() string {
	if r.Root == "" {
		return "/proc"
	}
	return r.Root
}

func (r *Reader) name(pid, tid int, file string) string {
	p := append(r.path[:0], r.root()...)
	p = append(p, '/')
	p = strconv.AppendInt(p, int64(pid), 10)
	if tid != 0 {
		p = append(p, "/task/"...)
		p = strconv.AppendInt(p, int64(tid), 10)
	}
	p = append(p, '/')
	p = append(p, file...)
	r.path = p
	return string(p)
}

// read returns the content of a file in the buffer that the next read reuses.
func (r *Reader) read(pid, tid int, file string) ([]byte, error) {
	if r.buf == nil {
		r.buf = make([]byte, firstRead)
	}
	return readWhole(unix.AT_FDCWD, r.name(pid, tid, file), &r.buf)
}

// ReadFile returns the content of a file of some mount of /proc, read as
// [Reader] does.
func ReadFile(name string) ([]byte, error) {
	buf := make([]byte, firstRead)
	return readWhole(unix.AT_FDCWD, name, &buf)
}

// Comm reads comm: the name of the process's leader, which may be dead.
func (r *Reader) Comm(pid int) (string, error) {
	b, err := r.read(pid, 0, "comm")
	return strings.TrimSuffix(string(b), "\n"), err
}

// OwnStatus reads the status of this process, or of its thread that calls:
// also where /proc is that of another pid namespace.
func OwnStatus(thread bool) (Status, error) {
	name := "/proc/self/status"
	if thread {
		name = "/proc/thread-self/status"
	}
	b, err := ReadFile(name)
	if err != nil {
		return Status{}, err
	}
	return parseStatus(b)
}

// firstRead is how much a file is taken to have at most, at first.
const firstRead = 16 << 10

// readWhole returns the content of a file, below the directory at, in buf, for which
// it makes room.
func readWhole(at int, name string, buf *[]byte) ([]byte, error) {
	fd, err := openAt(at, name, unix.O_RDONLY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Pread(fd, *buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		// In one piece: the end of a second read may be that of the task, and
		// what has been read no whole.
		if n < len(*buf) {
			return (*buf)[:n], nil
		}
		*buf = make([]byte, 2*len(*buf))
	}
}

func openAt(at int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (r *Reader) link(pid int, file string) (string, error) {
	name := r.name(pid, 0, file)
	buf := make([]byte, 256)
	for {
		n, err := unix.Readlink(name, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
		}
		if n < len(buf) {
			return string(buf[:n]), nil
		}
		buf = make([]byte, 2*len(buf))
	}
}
