package ptrace

import (
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// lookup finds out what an exec that has not begun is going to run. It
// reports false where the kernel is going to refuse the call because the file
// does not exist or may not be executed, or where the arguments cannot be
// read.
func (t *tracer) lookup(tr *tracee, info *sys.SyscallInfo, name string) (program, bool) {
	dirfd, args := unix.AT_FDCWD, info.Args[:]
	flags := uint64(0)
	if name == "execveat" {
		dirfd, flags = int(int32(args[0])), args[4]
		args = args[1:]
	}
	file, ok := readString(tr.tid, args[0])
	if !ok {
		return program{}, false
	}
	exe, err := t.executable(tr, dirfd, file, flags)
	if err != nil {
		return program{}, false
	}
	word := 8
	if is32bit(info) {
		word = 4
	}
	p := programOf(tr.task)
	if p.argv, p.argvCut, ok = readArgv(tr.tid, args[1], word); !ok {
		return program{}, false
	}
	p.exe = exe
	if file == "" { // an execveat of an open file
		file = exe
	}
	if p.comm = path.Base(file); len(p.comm) > 15 {
		p.comm = p.comm[:15]
	}
	if p.cwd, err = t.proc.Cwd(tr.tid); err != nil {
		return program{}, false
	}
	return p, true
}

// executable opens the file that an exec names, in the tracee's own root and
// working directory, and returns its absolute path there. Whether it may be
// executed is asked with the tracer's ids: they are the tracee's, or root's.
func (t *tracer) executable(tr *tracee, dirfd int, file string, flags uint64) (string, error) {
	proc := "/proc/" + strconv.Itoa(tr.tid)
	var via string
	switch {
	case strings.HasPrefix(file, "/"):
		via = proc + "/root" + file
	case file == "" && flags&unix.AT_EMPTY_PATH != 0 && dirfd >= 0:
		via = proc + "/fd/" + strconv.Itoa(dirfd)
	case file == "":
		return "", unix.ENOENT
	case dirfd == unix.AT_FDCWD:
		via = proc + "/cwd/" + file
	default:
		via = proc + "/fd/" + strconv.Itoa(dirfd) + "/" + file
	}
	how := unix.O_PATH | unix.O_CLOEXEC
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		how |= unix.O_NOFOLLOW
	}
	fd, err := unix.Open(via, how, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0 {
		return "", unix.EACCES
	}
	self := "/proc/self/fd/" + strconv.Itoa(fd)
	if err := unix.Access(self, unix.X_OK); err != nil {
		return "", err
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlink(self, buf)
	if err != nil {
		return "", err
	}
	exe := string(buf[:n])
	if root, err := os.Readlink(proc + "/root"); err == nil && root != "/" {
		exe = strings.TrimPrefix(exe, root)
	}
	return exe, nil
}

func is32bit(info *sys.SyscallInfo) bool {
	const audit64 = 0x80000000 // __AUDIT_ARCH_64BIT
	return info.Arch&audit64 == 0 || info.Nr&x32Bit != 0
}

// What one exec may carry: the kernel's limits (include/uapi/linux/binfmts.h:
// MAX_ARG_STRLEN is 32 pages; the sum is at most 6 MiB).
const (
	maxString = 32 * 4096
	maxArgs   = 6 << 20
)

// readArgv reads a NULL-terminated array of pointers to strings. It reports
// whether the list had to be cut at what the kernel takes, and false if the
// memory cannot be read.
func readArgv(tid int, addr uint64, word int) (argv []string, cut, ok bool) {
	argv = []string{}
	if addr == 0 {
		return argv, false, true
	}
	var buf [8]byte
	for total := 0; total < maxArgs; addr += uint64(word) {
		if n, err := sys.ReadMemory(tid, addr, buf[:word]); err != nil || n < word {
			return nil, false, false
		}
		p := pointer(buf[:word])
		if p == 0 {
			return argv, false, true
		}
		s, ok := readString(tid, p)
		if !ok {
			return nil, false, false
		}
		argv = append(argv, s)
		total += len(s) + 1 + word
	}
	return argv, true, true
}

func pointer(b []byte) (p uint64) {
	for i, c := range b {
		p |= uint64(c) << (8 * i)
	}
	return p
}

// readString reads a NUL-terminated string of at most maxString bytes, page
// by page, because the next page may not be there.
func readString(tid int, addr uint64) (string, bool) {
	const page = 4096
	var s []byte
	var buf [page]byte
	for len(s) < maxString {
		chunk := buf[:page-addr%page]
		n, err := sys.ReadMemory(tid, addr, chunk)
		if err != nil || n == 0 {
			return "", false
		}
		for i, c := range chunk[:n] {
			if c == 0 {
				return string(append(s, chunk[:i]...)), true
			}
		}
		s = append(s, chunk[:n]...)
		addr += uint64(n)
	}
	return "", false // longer than the kernel takes
}
