package ptrace

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// fileID identifies a file.
type fileID struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) fileID { return fileID{uint64(st.Dev), st.Ino} }

// expected is what an exec that watchers were asked about is to give: the file
// that the kernel maps, behind the interpreters of a script, and its
// arguments. What was not found out is not known.
type expected struct {
	known      bool
	file       fileID
	unreadable bool // no look at the file's running image is granted
	argv       []string
}

// maxInterpreters is how often the kernel goes from a file to its interpreter
// (exec_binprm in fs/exec.c).
const maxInterpreters = 5

// scriptHead is how much of a file the kernel looks at (BINPRM_BUF_SIZE).
const scriptHead = 256

// follow goes from the open file that was named, through the interpreters of
// scripts, to the file that the kernel is going to map. Name is what the
// kernel passes to the first interpreter.
func (w *walker) follow(fd int, name string, argv []string) expected {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return expected{}
	}
	defer func() { _ = unix.Close(fd) }()
	for range maxInterpreters + 1 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return expected{}
		}
		ex := expected{known: true, file: idOf(&st), argv: argv}
		head, err := readHead(fd)
		if err != nil {
			ex.unreadable = true
			return ex
		}
		interpreter, arg, ok := parseScript(head)
		if !ok {
			return ex
		}
		next := []string{interpreter}
		if arg != "" {
			next = append(next, arg)
		}
		next = append(next, name)
		if len(argv) > 1 {
			next = append(next, argv[1:]...)
		}
		argv, name = next, interpreter
		from, err := w.walk(w.cwd, interpreter, false)
		if err != nil {
			return expected{}
		}
		_ = unix.Close(fd)
		fd = from
	}
	return expected{} // the kernel is going to refuse it
}

func readHead(fd int) ([]byte, error) {
	file, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(file)
	buf := make([]byte, scriptHead)
	n, err := unix.Pread(file, buf, 0)
	return buf[:max(n, 0)], err
}

// parseScript returns the interpreter that a script names in its first line,
// and its argument, or false for what is no script (load_script in
// fs/binfmt_script.c).
func parseScript(head []byte) (interpreter, arg string, ok bool) {
	line, ok := bytes.CutPrefix(head, []byte("#!"))
	if !ok {
		return "", "", false
	}
	line, _, whole := bytes.Cut(line, []byte("\n"))
	whole = whole || len(head) < scriptHead
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line, whole = line[:i], true
	}
	const blanks = " \t"
	line = bytes.TrimLeft(line, blanks)
	end := bytes.IndexAny(line, blanks)
	if end < 0 {
		return string(line), "", whole && len(line) > 0 // a name that is cut is refused
	}
	if !whole {
		line = line[:min(len(line), scriptHead-1)]
	}
	return string(line[:end]), string(bytes.Trim(line[end:], blanks)), true
}
