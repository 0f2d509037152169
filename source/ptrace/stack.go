package ptrace

import (
	"bytes"
	"path"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// image is what the kernel leaves on the stack of a new program: the argument
// list, and in the auxiliary vector the ids and the name of the file. One
// read of memory replaces three files of /proc.
type image struct {
	argv     []string
	execfn   string
	uid, gid taskwatch.IDs
}

// Entries of the auxiliary vector (include/uapi/linux/auxvec.h).
const (
	atNull, atUID, atEUID, atGID, atEGID, atExecfn = 0, 11, 12, 13, 14, 31
)

// maxVectors bounds the three vectors: as many pointers as the kernel takes
// bytes of arguments for.
const maxVectors = 1 << 20

// firstRead is how much of the stack is read at once; most stacks of new
// programs end before.
const firstRead = 8 << 10

// stackReader reads the stacks of new programs into one buffer.
type stackReader struct {
	buf []byte
}

// image reads the stack of a tracee at the event stop of its exec. It reports
// false where the stack is not as expected; the files of /proc tell the same
// then.
func (r *stackReader) image(tid int, regs *syscallRegs) (img image, ok bool) {
	argc, stack, ok := r.vectors(tid, regs.sp, regs.word)
	if !ok {
		return image{}, false
	}
	at := func(i int) uint64 { return pointer(stack[i*regs.word : (i+1)*regs.word]) }
	n := len(stack) / regs.word

	envp := argc + 2 // behind argc itself and the NULL of argv
	auxv := envp
	for at(auxv) != 0 {
		auxv++
	}
	var entries [atExecfn + 1]uint64
	for i := auxv + 1; i+1 < n && at(i) != atNull; i += 2 {
		if key := at(i); key < uint64(len(entries)) {
			entries[key] = at(i + 1)
		}
	}
	img.uid = afterExec(entries[atUID], entries[atEUID])
	img.gid = afterExec(entries[atGID], entries[atEGID])

	// The strings of the arguments lie in one piece, before those of the
	// environment and the name of the file.
	args, end := at(1), entries[atExecfn]
	if at(envp) != 0 {
		end = at(envp)
	}
	if img.execfn, ok = stringAt(tid, entries[atExecfn], stack, regs.sp); !ok {
		return image{}, false
	}
	if argc == 0 {
		img.argv = []string{}
		return img, true
	}
	if end <= args || end-args > maxArgs {
		return image{}, false
	}
	img.argv, ok = stringsAt(tid, args, int(end-args), argc, stack, regs.sp)
	return img, ok
}

// vectors reads the stack from sp on, at least to the end of the auxiliary
// vector. The result is valid until the next call.
func (r *stackReader) vectors(tid int, sp uint64, word int) (argc int, stack []byte, ok bool) {
	for size := firstRead; size <= maxVectors; size *= 4 {
		if len(r.buf) < size {
			r.buf = make([]byte, size)
		}
		n, err := sys.ReadMemory(tid, sp, r.buf[:size])
		if err != nil {
			return 0, nil, false
		}
		stack = r.buf[:n]
		if argc, ok = vectorsEnd(stack, word); ok || n < size {
			return argc, stack, ok
		}
	}
	return 0, nil, false
}

// stringAt returns the string at addr, from what was read of the stack if it
// is there.
func stringAt(tid int, addr uint64, stack []byte, sp uint64) (string, bool) {
	if addr >= sp && addr-sp < uint64(len(stack)) {
		rest := stack[addr-sp:]
		if end := bytes.IndexByte(rest, 0); end >= 0 {
			return string(rest[:end]), true
		}
	}
	s, err := readString(tid, addr)
	return s, err == nil
}

// stringsAt returns the n strings of together size bytes at addr, from what
// was read of the stack if they are there.
func stringsAt(tid int, addr uint64, size, n int, stack []byte, sp uint64) ([]string, bool) {
	var b []byte
	if addr >= sp && addr-sp+uint64(size) <= uint64(len(stack)) {
		b = stack[addr-sp:][:size]
	} else {
		b = make([]byte, size)
		if got, err := sys.ReadMemory(tid, addr, b); err != nil || got < size {
			return nil, false
		}
	}
	if bytes.Count(b, []byte{0}) != n || b[size-1] != 0 {
		return nil, false
	}
	return strings.Split(string(b[:size-1]), "\x00"), true
}

// afterExec returns the four ids of a task that has just run exec: the
// effective one is copied to the saved and the file system one
// (begin_new_exec in fs/exec.c).
func afterExec(id, effective uint64) taskwatch.IDs {
	e := uint32(effective)
	return taskwatch.IDs{uint32(id), e, e, e}
}

// vectorsEnd returns argc if the three vectors that begin in b also end
// there.
func vectorsEnd(b []byte, word int) (argc int, ok bool) {
	n := len(b) / word
	at := func(i int) uint64 { return pointer(b[i*word : (i+1)*word]) }
	if n == 0 || at(0) > maxVectors {
		return 0, false
	}
	argc = int(at(0))
	i := argc + 1
	if i >= n || at(i) != 0 {
		return 0, false
	}
	for i++; i < n && at(i) != 0; i++ { // the environment
	}
	for i++; i+1 < n; i += 2 { // pairs
		if at(i) == atNull {
			return argc, true
		}
	}
	return 0, false
}

// commOf returns the name that the kernel gives to a task that runs file, or
// "" where that is not just the end of the path: an execveat of an open file
// goes by /dev/fd/N, from which newer kernels do not take the name.
func commOf(file string) string {
	if strings.HasPrefix(file, "/dev/fd/") || file == "" {
		return ""
	}
	name := path.Base(file)
	if strings.HasSuffix(file, "/") {
		return ""
	}
	return name[:min(len(name), maxComm)]
}

// maxComm is TASK_COMM_LEN without the NUL.
const maxComm = 15
