package watchtest

import (
	"bytes"
	"os"
	"strconv"
	"strings"
)

// ownCgroup returns the path of this process's cgroup, its children's too.
func ownCgroup() string {
	_, path := ownPlace()
	return path
}

// ownPlace returns the hierarchy that tells where this process belongs, and the
// path there: the unified one, "", unless it is at its root, or else the one of the
// manager or the one with the lowest number.
func ownPlace() (name, path string) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", ""
	}
	path = "/"
	best := 1 << 30
	for line := range bytes.Lines(b) {
		f := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		n, err := strconv.Atoi(f[0])
		if err != nil || len(f) != 3 || f[2] == "/" {
			continue
		}
		if f[1] == "name=systemd" {
			n = 0 // before all but the unified one, which comes last
		}
		if n <= best {
			name, path, best = f[1], f[2], n
		}
	}
	return name, path
}
