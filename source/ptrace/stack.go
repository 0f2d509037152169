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

// readImage reads the stack of a tracee at the event stop of its exec. It
// reports false where the stack is not as expected; the files of /proc tell
// the same then.
func readImage(tid int, regs *syscallRegs) (img image, ok bool) {
	word := regs.word
	argc, vectors, ok := readVectors(tid, regs.sp, word)
	if !ok {
		return image{}, false
	}
	at := func(i int) uint64 { return pointer(vectors[i*word : (i+1)*word]) }
	n := len(vectors) / word

	envp := argc + 2 // behind argc itself and the NULL of argv
	auxv := envp
	for at(auxv) != 0 {
		auxv++
	}
	auxv++
	var entries [atExecfn + 1]uint64
	for i := auxv; i+1 < n && at(i) != atNull; i += 2 {
		if key := at(i); key < uint64(len(entries)) {
			entries[key] = at(i + 1)
		}
	}
	if img.execfn, ok = readString(tid, entries[atExecfn]); !ok {
		return image{}, false
	}
	img.uid = afterExec(entries[atUID], entries[atEUID])
	img.gid = afterExec(entries[atGID], entries[atEGID])

	// The strings of the arguments lie in one piece, before those of the
	// environment and the name of the file.
	end := entries[atExecfn]
	if at(envp) != 0 {
		end = at(envp)
	}
	img.argv, ok = readStrings(tid, at(1), end, argc)
	return img, ok
}

// afterExec returns the four ids of a task that has just run exec: the
// effective one is copied to the saved and the file system one
// (begin_new_exec in fs/exec.c).
func afterExec(id, effective uint64) taskwatch.IDs {
	e := uint32(effective)
	return taskwatch.IDs{uint32(id), e, e, e}
}

// readVectors reads the stack from sp to the end of the auxiliary vector, as
// far as maxVectors.
func readVectors(tid int, sp uint64, word int) (argc int, b []byte, ok bool) {
	const page = 4096
	for len(b) < maxVectors {
		chunk := make([]byte, page-int(sp%page))
		n, err := sys.ReadMemory(tid, sp, chunk)
		if err != nil || n < len(chunk) {
			return 0, nil, false
		}
		b = append(b, chunk...)
		sp += uint64(n)
		if argc, ok := vectorsEnd(b, word); ok {
			return argc, b, true
		}
	}
	return 0, nil, false
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

// readStrings reads n strings that lie from addr to end, each ending in a NUL.
func readStrings(tid int, addr, end uint64, n int) ([]string, bool) {
	if n == 0 {
		return []string{}, true
	}
	if end <= addr || end-addr > maxArgs {
		return nil, false
	}
	b := make([]byte, end-addr)
	if got, err := sys.ReadMemory(tid, addr, b); err != nil || got < len(b) || bytes.Count(b, []byte{0}) != n {
		return nil, false
	}
	return strings.Split(string(b[:len(b)-1]), "\x00"), true
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
