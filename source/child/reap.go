package child

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Reap reaps what has ended of the children that a command has made for this process
// (CLONE_PARENT), which nobody else can, and returns the others.
func Reap(pids []int) []int {
	return slices.DeleteFunc(pids, func(pid int) bool {
		got, err := unix.Wait4(pid, nil, unix.WNOHANG|unix.WALL, nil)
		return got == pid || errors.Is(err, unix.ECHILD)
	})
}
