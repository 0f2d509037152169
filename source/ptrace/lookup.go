package ptrace

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// question is what watchers are asked about an exec that has not begun.
type question struct {
	program
	expect expected
}

// lookup finds out what an exec that has not begun is going to run. It
// reports false where the kernel is going to reject the call because the file
// does not exist or may not be executed, or because the arguments cannot be
// read. What the tracer alone cannot find out is missing.
func (t *tracer) lookup(tr *tracee, info *sys.SyscallInfo, name string) (question, bool) {
	dirfd, args := unix.AT_FDCWD, info.Args[:]
	flags := uint64(0)
	if name == "execveat" {
		dirfd, flags = int(int32(args[0])), args[4]
		args = args[1:]
	}
	word := 8
	if is32bit(info) {
		word = 4
	}
	q := question{program: program{cwd: tr.task.Cwd}}
	var err error
	if q.argv, q.argvCut, err = readArgv(tr.tid, args[1], word); err != nil {
		if rejectedByKernel(err) {
			return question{}, false
		}
		q.unknown |= taskwatch.FieldArgv
	} else if len(q.argv) == 0 {
		q.argv = []string{""} // the kernel adds it
	}
	if q.cwd, err = t.proc.Cwd(tr.tid); err != nil {
		q.unknown |= taskwatch.FieldCwd
	}
	file, err := readString(tr.tid, args[0])
	if err != nil {
		q.unknown |= taskwatch.FieldExe | taskwatch.FieldComm
		return q, !rejectedByKernel(err)
	}
	err = t.executable(tr, &q, dirfd, file, flags)
	switch {
	case err == nil:
		return q, true
	case errors.Is(err, errUnknown):
		q.unknown |= taskwatch.FieldExe | taskwatch.FieldComm
		return q, true
	}
	return question{}, false
}

// rejectedByKernel reports whether a failure to read the memory of a task is
// that of the memory, and not of the tracer's rights.
func rejectedByKernel(err error) bool {
	return errors.Is(err, unix.EFAULT) || errors.Is(err, unix.E2BIG)
}

// executable fills in what is known of the file that an exec names. Whether it
// may be executed is asked with the tracer's ids: they are the tracee's, or
// root's, unless the tracee has a user namespace of its own.
func (t *tracer) executable(tr *tracee, q *question, dirfd int, file string, flags uint64) error {
	w, err := newWalker(tr.tid)
	if err != nil {
		return err
	}
	defer w.close()
	fd, err := w.open(dirfd, file, flags)
	if err != nil {
		if !t.rejectsFile(tr, err) {
			return errUnknown
		}
		return err
	}
	defer unix.Close(fd)
	if q.exe, err = t.runnable(tr, fd); err != nil {
		return err
	}
	passed := file // what a script's interpreter gets (alloc_bprm in fs/exec.c)
	switch {
	case dirfd == unix.AT_FDCWD || strings.HasPrefix(file, "/"):
	case file == "":
		passed = "/dev/fd/" + strconv.Itoa(dirfd)
	default:
		passed = "/dev/fd/" + strconv.Itoa(dirfd) + "/" + file
	}
	if file == "" { // an execveat of an open file
		file = q.exe
	}
	q.comm = path.Base(file)
	q.comm = q.comm[:min(len(q.comm), maxComm)]
	var rejected bool
	if q.expect, rejected = t.behind(w, tr, fd, passed, q.program); rejected {
		// The file that was named may be executed, and the kernel finds out
		// later; an LSM is asked before.
		q.expect.interpreters = nil
	}
	if q.unknown.Has(taskwatch.FieldArgv) || q.argvCut {
		q.expect.known = false
	}
	return nil
}

// rejectsFile reports whether an error of the walk to a file is the kernel's
// answer to the tracee as well, whose rights may be others than the tracer's.
func (t *tracer) rejectsFile(tr *tracee, err error) bool {
	return !errors.Is(err, errUnknown) && !(errors.Is(err, unix.EACCES) && (t.root || tr.proc.userNS))
}

// runnable returns the path of an open file, in the task's own root, if it is
// one that the task may execute.
func (t *tracer) runnable(tr *tracee, fd int) (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", errUnknown
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return "", unix.EACCES
	}
	self := procfs.FDPath(fd)
	if err := unix.Access(self, unix.X_OK); err != nil && !tr.proc.userNS {
		return "", err
	}
	file, err := readlink(self)
	if err != nil {
		return "", errUnknown
	}
	if file, err = t.proc.Links(tr.tid).InRoot(file); err != nil {
		return "", errUnknown
	}
	return file, nil
}

func readlink(name string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlink(name, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

func is32bit(info *sys.SyscallInfo) bool {
	const audit64 = 0x80000000 // __AUDIT_ARCH_64BIT
	return info.Arch&audit64 == 0 || info.Nr&x32Bit != 0
}

// What one exec may carry: the kernel's limits (include/uapi/linux/binfmts.h:
// MAX_ARG_STRLEN is 32 pages of the machine; the sum is at most 6 MiB).
var maxString = 32 * os.Getpagesize()

const maxArgs = 6 << 20

// readArgv reads a NULL-terminated array of pointers to strings, and reports
// whether the list had to be cut at what the kernel takes.
func readArgv(tid int, addr uint64, word int) (argv []string, cut bool, err error) {
	argv = []string{}
	if addr == 0 {
		return argv, false, nil
	}
	var buf [8]byte
	for total := 0; total < maxArgs; addr += uint64(word) {
		if n, err := sys.ReadMemory(tid, addr, buf[:word]); err != nil {
			return nil, false, err
		} else if n < word {
			return nil, false, unix.EFAULT
		}
		p := pointer(buf[:word])
		if p == 0 {
			return argv, false, nil
		}
		s, err := readString(tid, p)
		if err != nil {
			return nil, false, err
		}
		argv = append(argv, s)
		total += len(s) + 1 + word
	}
	return argv, true, nil
}

func pointer(b []byte) (p uint64) {
	for i, c := range b {
		p |= uint64(c) << (8 * i)
	}
	return p
}

// readString reads a NUL-terminated string of at most maxString bytes. It
// reads by 4 KiB, the smallest page that a machine has, because the next page
// may not be there. E2BIG says that it is longer than the kernel takes.
func readString(tid int, addr uint64) (string, error) {
	const page = 4096
	var s []byte
	var buf [page]byte
	for len(s) < maxString {
		chunk := buf[:page-addr%page]
		n, err := sys.ReadMemory(tid, addr, chunk)
		if err != nil {
			return "", err
		}
		if n == 0 {
			return "", unix.EFAULT
		}
		for i, c := range chunk[:n] {
			if c == 0 {
				return string(append(s, chunk[:i]...)), nil
			}
		}
		s = append(s, chunk[:n]...)
		addr += uint64(n)
	}
	return "", unix.E2BIG
}
