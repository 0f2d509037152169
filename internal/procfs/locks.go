package procfs

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockHolder returns the pid of the process that has a file locked by flock(2), or
// 0: nobody has, it is not to be found out, or the process is of another pid
// namespace.
func LockHolder(dev, ino uint64) int {
	b, err := ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	return parseLocks(string(b), dev, ino)
}

func parseLocks(text string, dev, ino uint64) int {
	pid := 0
	for line := range strings.Lines(text) {
		// 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
		w := strings.Fields(line)
		if len(w) < 6 || w[1] != "FLOCK" {
			continue
		}
		place := strings.Split(w[5], ":")
		if len(place) != 3 || place[2] != strconv.FormatUint(ino, 10) {
			continue
		}
		n, err := strconv.Atoi(w[4])
		if err != nil || n <= 0 {
			continue
		}
		pid = n
		if fmt.Sprintf("%02x:%02x", unix.Major(dev), unix.Minor(dev)) == place[0]+":"+place[1] {
			break // else the file system shows another device than it has
		}
	}
	return pid
}
