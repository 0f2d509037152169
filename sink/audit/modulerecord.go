package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Kinds of records.
const (
	kindExec  = 1
	kindIDs   = 2
	kindExit  = 3
	kindAbend = 4
)

// Places in a record: see struct entry of modules/auditrec/auditrec.c.
const (
	headLen = 256
	textLen = 768
	argsLen = 1536

	exeAt  = headLen
	nameAt = exeAt + textLen
	cwdAt  = nameAt + textLen
	argsAt = cwdAt + textLen
)

// head is what every record begins with.
type head struct {
	Kind, Arch    uint32
	Call, Result  int32
	HasResult     uint32
	PID, PPID     uint32
	AUID, Session uint32
	UID, GID      [4]uint32 // real, effective, saved, file system
	Status        uint32
	Argc          uint32
	ExeLen        int32
	NameLen       int32
	CwdLen        int32
	ArgsLen       int32
	TTYLen        int32
}

// moduleRecord is a record of the module. Of texts, nil is one that is unknown or was
// cut.
type moduleRecord struct {
	head
	comm, tty, key []byte
	exe, name, cwd []byte
	call           []uint64 // the arguments of the system call; nil where they are unknown
	args           [][]byte // those that are known, from the first one on
}

var errForeign = errors.New("audit: the record is none of auditrec")

// decode decodes a record. It keeps parts of b.
func decode(b []byte) (*moduleRecord, error) {
	const commLen, ttyLen, keyLen = 16, 32, 32
	if len(b) < exeAt+textLen {
		return nil, errForeign
	}
	e := new(moduleRecord)
	r := reader{b: b}
	for _, v := range []*uint32{&e.Kind, &e.Arch} {
		*v = r.next()
	}
	e.Call, e.Result = int32(r.next()), int32(r.next())
	for _, v := range []*uint32{&e.HasResult, &e.PID, &e.PPID, &e.AUID, &e.Session} {
		*v = r.next()
	}
	for i := range e.UID {
		e.UID[i] = r.next()
	}
	for i := range e.GID {
		e.GID[i] = r.next()
	}
	e.Status, e.Argc = r.next(), r.next()
	for _, v := range []*int32{&e.ExeLen, &e.NameLen, &e.CwdLen, &e.ArgsLen, &e.TTYLen} {
		*v = int32(r.next())
	}
	e.comm = name(b[r.at:], commLen)
	e.tty = text(b[r.at+commLen:], e.TTYLen, ttyLen)
	e.key = name(b[r.at+commLen+ttyLen:], keyLen)
	if words := b[r.at+commLen+ttyLen+keyLen:]; binary.NativeEndian.Uint32(words[4*8:]) != 0 {
		for i := range 4 {
			e.call = append(e.call, binary.NativeEndian.Uint64(words[8*i:]))
		}
	}
	e.exe = text(b[exeAt:], e.ExeLen, textLen)
	switch {
	case e.Kind < kindExec || e.Kind > kindAbend:
		return nil, errForeign
	case e.Kind != kindExec:
		return e, nil
	case len(b) <= argsAt:
		return nil, errForeign
	}
	e.name = text(b[nameAt:], e.NameLen, textLen)
	e.cwd = text(b[cwdAt:], e.CwdLen, textLen)
	args := b[argsAt:]
	if e.ArgsLen < 0 {
		return e, nil
	}
	whole := int(e.ArgsLen) <= len(args)
	if whole {
		args = args[:e.ArgsLen]
	}
	for len(args) > 0 {
		arg, rest, ended := bytes.Cut(args, []byte{0})
		if !ended && !whole {
			break
		}
		e.args, args = append(e.args, arg), rest
	}
	return e, nil
}

// name returns a text that ends at the first NUL of a field.
func name(b []byte, room int) []byte {
	b, _, _ = bytes.Cut(b[:room], []byte{0})
	return b
}

// text returns a text of n bytes from a field that has room for less than that:
// nil if it is not known, or not all of it is there.
func text(b []byte, n int32, room int) []byte {
	if n < 0 || int(n) >= room {
		return nil
	}
	return b[:n]
}

// reader reads words in the machine's byte order.
type reader struct {
	b  []byte
	at int
}

func (r *reader) next() uint32 {
	r.at += 4
	return binary.NativeEndian.Uint32(r.b[r.at-4:])
}
