package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ntARMSystemCall is NT_ARM_SYSTEM_CALL of include/uapi/linux/elf.h.
const ntARMSystemCall = 0x404

// PtraceSetSyscall replaces the number of the system call that a tracee is
// about to run.
func PtraceSetSyscall(tid int, nr int32) error {
	iov := unix.Iovec{Base: (*byte)(unsafe.Pointer(&nr)), Len: uint64(unsafe.Sizeof(nr))}
	return ptrace(unix.PTRACE_SETREGSET, tid, ntARMSystemCall, uintptr(unsafe.Pointer(&iov)))
}
