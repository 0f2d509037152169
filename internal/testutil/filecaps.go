package testutil

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// SetFileCaps gives a file capabilities that a program has from the exec on, as
// setcap does: a set of bits below 32. Only root can, and not on every file
// system.
func SetFileCaps(t testing.TB, name string, caps uint32) {
	t.Helper()
	// struct vfs_cap_data of linux/capability.h, of version 2, effective
	var value []byte
	for _, word := range []uint32{0x02000001, caps, 0, 0, 0} {
		value = binary.LittleEndian.AppendUint32(value, word)
	}
	if err := unix.Setxattr(name, "security.capability", value, 0); err != nil {
		t.Fatalf("capabilities of %s: %v", name, err)
	}
}
