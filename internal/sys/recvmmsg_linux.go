package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// NetlinkBatch receives several netlink datagrams with one system call, into
// memory that it reuses. It must not be copied, and one goroutine may use it
// at a time.
type NetlinkBatch struct {
	size    int
	memory  []byte
	headers []mmsghdr
	iovecs  []unix.Iovec
	names   []unix.RawSockaddrNetlink
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// NewNetlinkBatch returns a batch of n datagrams of at most size bytes.
func NewNetlinkBatch(n, size int) *NetlinkBatch {
	b := &NetlinkBatch{
		size: size, memory: make([]byte, n*size),
		headers: make([]mmsghdr, n), iovecs: make([]unix.Iovec, n), names: make([]unix.RawSockaddrNetlink, n),
	}
	for i := range b.headers {
		b.iovecs[i].Base = &b.memory[i*size]
		b.iovecs[i].SetLen(size)
		b.headers[i].hdr.Iov = &b.iovecs[i]
		b.headers[i].hdr.SetIovlen(1)
		b.headers[i].hdr.Name = (*byte)(unsafe.Pointer(&b.names[i]))
	}
	return b
}

// Receive takes what is there, without waiting, and returns the number of
// datagrams. Nothing there is EAGAIN.
func (b *NetlinkBatch) Receive(fd int) (int, error) {
	for i := range b.headers {
		b.headers[i].hdr.Namelen = unix.SizeofSockaddrNetlink // the kernel changes it
	}
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[0])),
		uintptr(len(b.headers)), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// Datagram returns the i-th datagram of the last Receive, valid until the
// next, and the port id of its sender, which is 0 for the kernel. Whole is
// false if the datagram was longer than the batch's size.
func (b *NetlinkBatch) Datagram(i int) (data []byte, port uint32, whole bool) {
	h := &b.headers[i]
	return b.memory[i*b.size:][:h.len], b.names[i].Pid, h.hdr.Flags&unix.MSG_TRUNC == 0
}
