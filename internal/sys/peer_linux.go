package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// PeerGroups returns the supplementary groups that the process at the other
// end of a connected Unix socket had when it connected (SO_PEERGROUPS, since
// Linux 4.13).
func PeerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 64)
	for {
		size := uint32(4 * len(groups))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		n := int(size / 4)
		switch {
		case errno == unix.ERANGE && n > len(groups): // n is how many there are
			groups = make([]uint32, n)
		case errno != 0:
			return nil, errno
		default:
			return groups[:n], nil
		}
	}
}
