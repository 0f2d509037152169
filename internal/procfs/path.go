package procfs

import (
	"os"
	"strconv"
	"strings"
)

// Self is the program of this process, wherever its file has gone: to run it
// again.
const Self = "/proc/self/exe"

// BinfmtMisc is where the kernel shows what it was told to run files by.
const BinfmtMisc = "/proc/sys/fs/binfmt_misc"

// Path returns the name of a file of a task, or that of its directory for "".
func Path(tid int, file string) string {
	dir := "/proc/" + strconv.Itoa(tid)
	if file == "" {
		return dir
	}
	return dir + "/" + file
}

// FDPath returns a name of a file that this process has open, for as long as it
// has: also of one without any other name.
func FDPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// ForOthers returns a path that means to another process what path means to the
// calling thread: in /proc/self/exe the other would find itself.
func ForOthers(path string) string {
	for _, self := range []string{"/proc/self", "/proc/thread-self"} {
		if rest, ok := strings.CutPrefix(path, self+"/"); ok {
			if pid, err := os.Readlink(self); err == nil {
				return "/proc/" + pid + "/" + rest
			}
		}
	}
	return path
}
