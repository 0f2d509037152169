package ptrace

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
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

	interpreters []program // the programs that the kernel goes on to, the one that it maps last
}

// maxInterpreters is how often the kernel goes from a file to its interpreter
// (exec_binprm in fs/exec.c).
const maxInterpreters = 5

// scriptHead is how much of a file the kernel looks at (BINPRM_BUF_SIZE).
const scriptHead = 256

// behind goes from the open file that was named, through the interpreters of
// scripts and of binfmt_misc, to the file that the kernel is going to map.
// Name is what the kernel passes to the first interpreter. Rejected says that
// the kernel finds no program there that the task may run.
func (t *tracer) behind(w *walker, tr *tracee, fd int, name string, p program) (ex expected, rejected bool) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return expected{}, false
	}
	defer func() { _ = unix.Close(fd) }()
	for range maxInterpreters + 1 {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			ex.known = false
			return ex, false
		}
		ex.known, ex.file, ex.argv = true, idOf(&st), p.argv
		head, err := readHead(fd)
		if err != nil {
			ex.unreadable = true
			return ex, false
		}
		next, ok := t.formats.interpreter(head, name)
		if !ok {
			interpreter, arg, ok := parseScript(head)
			if !ok {
				return ex, false
			}
			next = scriptFormat(interpreter, arg)
		}
		p.argv = next.argv(name, p.argv)
		name = next.interpreter
		from := -1
		if next.elsewhere { // opened when it was registered
			from, err = openPath(unix.AT_FDCWD, name, 0)
		} else {
			from, err = w.walk(w.cwd, name, false)
		}
		if err != nil {
			ex.known = false
			return ex, t.rejectsFile(tr, err)
		}
		_ = unix.Close(fd)
		fd = from
		if p.exe, err = t.runnable(tr, fd); err != nil {
			ex.known = false
			return ex, !errors.Is(err, errUnknown)
		}
		ex.interpreters = append(ex.interpreters, p)
	}
	return ex, true // too many for the kernel
}

func readHead(fd int) ([]byte, error) {
	file, err := unix.Open(procfs.FDPath(fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
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
		return string(line), "", whole && len(line) > 0 // a name that is cut is rejected
	}
	if !whole {
		line = line[:min(len(line), scriptHead-1)]
	}
	return string(line[:end]), string(bytes.Trim(line[end:], blanks)), true
}
