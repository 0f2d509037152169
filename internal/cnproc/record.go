// Package cnproc speaks the protocol of the kernel's process events connector
// (drivers/connector/cn_proc.c): it opens and subscribes a netlink socket
// ([Conn]) and, apart from that, decodes what arrives ([Decode]).
package cnproc

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// What is the kind of a record, with the kernel's values (enum what in
// include/uapi/linux/cn_proc.h).
type What uint32

// The kinds of records.
const (
	Answer   What = 0 // to a request
	Fork     What = 0x00000001
	Exec     What = 0x00000002
	UID      What = 0x00000004
	GID      What = 0x00000040
	SID      What = 0x00000080
	Ptrace   What = 0x00000100
	Comm     What = 0x00000200
	CoreDump What = 0x40000000
	Exit     What = 0x80000000
)

// Record is one message of the connector. A pid is a thread group id and a
// tid a task id; the kernel's header calls them tgid and pid.
type Record struct {
	What What
	CPU  uint32 // where the event happened
	Seq  uint32 // counts the messages of that CPU, from some number and wrapping around
	Ack  uint32 // of an Answer, the request's number and 1
	NS   int64  // CLOCK_MONOTONIC

	PID, TID int // the task concerned; of a Fork, the new one

	// The real parent, of a Fork and an Exit. Kernels before 4.18 do not
	// tell it at the exit: 0.
	ParentPID, ParentTID int

	Real, Effective uint32 // UID and GID: the new ids
	Code            uint32 // Exit: the wait status; Answer: an error number or 0
	Name            string // Comm: the new name
}

// Errors of Decode.
var (
	ErrShort   = errors.New("cnproc: the message is cut short")
	errForeign = errors.New("cnproc: the message is none of the process connector")
)

// Sizes of struct nlmsghdr, struct cn_msg, and struct proc_event up to its
// union.
const (
	headerLen = unix.SizeofNlMsghdr
	cnLen     = 20
	eventLen  = 16
)

// The connector's id.
const (
	idxProc = 1
	valProc = 1
)

// MaxMessage is more than the kernel ever puts into one datagram.
const MaxMessage = 256

// Decode decodes the first message of a datagram and returns what follows it.
// It keeps nothing of b. After an error the rest of the datagram is lost.
func Decode(b []byte) (r Record, rest []byte, err error) {
	if len(b) < headerLen {
		return Record{}, nil, ErrShort
	}
	size := int(binary.NativeEndian.Uint32(b))
	if size < headerLen+cnLen || size > len(b) {
		return Record{}, nil, ErrShort
	}
	rest = b[min((size+3)&^3, len(b)):]
	if binary.NativeEndian.Uint16(b[4:]) != unix.NLMSG_DONE {
		return Record{}, nil, errForeign
	}
	cn := b[headerLen:size]
	if binary.NativeEndian.Uint32(cn) != idxProc || binary.NativeEndian.Uint32(cn[4:]) != valProc {
		return Record{}, nil, errForeign
	}
	r.Seq = binary.NativeEndian.Uint32(cn[8:])
	r.Ack = binary.NativeEndian.Uint32(cn[12:])
	data := cn[cnLen:]
	if n := int(binary.NativeEndian.Uint16(cn[16:])); n <= len(data) {
		data = data[:n]
	} else {
		return Record{}, nil, ErrShort
	}
	if err := r.event(data); err != nil {
		return Record{}, nil, err
	}
	return r, rest, nil
}

// event decodes a struct proc_event.
func (r *Record) event(b []byte) error {
	if len(b) < eventLen {
		return ErrShort
	}
	r.What = What(binary.NativeEndian.Uint32(b))
	r.CPU = binary.NativeEndian.Uint32(b[4:])
	r.NS = int64(binary.NativeEndian.Uint64(b[8:]))
	u := b[eventLen:]
	need := 8
	switch r.What {
	case Answer:
		need = 4
	case Fork, UID, GID, Exit:
		need = 16
	case Comm:
		need = 24
	}
	if len(u) < need {
		return ErrShort
	}
	id := func(i int) int { return int(int32(binary.NativeEndian.Uint32(u[4*i:]))) }
	switch r.What {
	case Answer:
		r.Code = binary.NativeEndian.Uint32(u)
		return nil
	case Fork:
		r.ParentTID, r.ParentPID, r.TID, r.PID = id(0), id(1), id(2), id(3)
		return nil
	}
	r.TID, r.PID = id(0), id(1)
	switch r.What {
	case UID, GID:
		r.Real, r.Effective = binary.NativeEndian.Uint32(u[8:]), binary.NativeEndian.Uint32(u[12:])
	case Comm:
		r.Name = unix.ByteSliceToString(u[8:24])
	case Exit:
		r.Code = binary.NativeEndian.Uint32(u[8:])
		if len(u) >= 24 {
			r.ParentTID, r.ParentPID = id(4), id(5)
		}
	}
	return nil
}

// request returns a subscription's message without its netlink header.
func request(number, op uint32) []byte {
	b := make([]byte, cnLen+4)
	binary.NativeEndian.PutUint32(b, idxProc)
	binary.NativeEndian.PutUint32(b[4:], valProc)
	binary.NativeEndian.PutUint32(b[12:], number) // what comes back, and 1
	binary.NativeEndian.PutUint16(b[16:], 4)
	binary.NativeEndian.PutUint32(b[cnLen:], op)
	return b
}
