package procfs

import (
	"os"
	"strconv"
)

// ReadOwn reads a file of the thread that calls: also where /proc is that of
// another pid namespace.
func ReadOwn(file string) ([]byte, error) { return ReadFile("/proc/thread-self/" + file) }

// HasOwnThread reports whether this process has a thread of that number.
func HasOwnThread(tid int) bool {
	_, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid))
	return err == nil
}
