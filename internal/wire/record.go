package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/taskwatch/taskwatch"
)

// ABI is the version of the record and of everything else that host and
// module agree upon.
const ABI = 1

var le = binary.LittleEndian

// Put writes the record of ev, whose Task is not nil, to b.
func Put(b *[Size]byte, ev *taskwatch.Event) {
	t := ev.Task
	le.PutUint32(b[offSize:], Size)
	le.PutUint32(b[offABI:], ABI)
	le.PutUint32(b[offEvent:], uint32(ev.Kind))
	le.PutUint32(b[offFlags:], flagsOf(ev))
	le.PutUint64(b[offMissing:], uint64(ev.Missing))
	var unix int64
	if !ev.Time.IsZero() {
		unix = ev.Time.UnixNano()
	}
	le.PutUint64(b[offTimeNS:], uint64(unix))
	le.PutUint32(b[offArgc:], uint32(len(t.Argv)))
	le.PutUint32(b[offReserved:], 0)
	put(b, ev)
	comm := b[offComm : offComm+16]
	clear(comm)
	copy(comm[:15], t.Comm)
}

// Val returns the val of a record.
func Val(b *[Base]byte) uint64 { return le.Uint64(b[offVal:]) }

// Kind returns which event a record is of.
func Kind(b *[Base]byte) taskwatch.Kind { return taskwatch.Kind(le.Uint32(b[offEvent:])) }

// Hide makes fields of Spared missing in the record b, of which it may be the
// beginning.
func Hide(b []byte, fields taskwatch.Fields) {
	if fields == 0 { // of most modules
		return
	}
	fields &= Spared & taskwatch.FieldsOf(taskwatch.Kind(le.Uint32(b[offEvent:])))
	le.PutUint64(b[offMissing:], le.Uint64(b[offMissing:])|uint64(fields))
	if fields.Has(taskwatch.FieldArgv) {
		le.PutUint32(b[offArgc:], 0)
		le.PutUint32(b[offFlags:], le.Uint32(b[offFlags:])&^flagArgvCut)
	}
	hide(b, fields)
}

func putIDs(b []byte, ids *taskwatch.IDs) {
	_ = b[15]
	le.PutUint32(b, ids[0])
	le.PutUint32(b[4:], ids[1])
	le.PutUint32(b[8:], ids[2])
	le.PutUint32(b[12:], ids[3])
}

// Decode returns the event whose record b is. What a record does not hold is
// left empty: the long strings, and the source.
func Decode(b []byte) (*taskwatch.Event, error) {
	if len(b) != Size || le.Uint32(b[offSize:]) != Size {
		return nil, fmt.Errorf("a record of %d bytes is not one of %d", len(b), Size)
	}
	if abi := le.Uint32(b[offABI:]); abi != ABI {
		return nil, fmt.Errorf("a record of version %d is not one of version %d", abi, ABI)
	}
	kind := le.Uint32(b[offEvent:])
	if kind >= taskwatch.NumLists {
		return nil, fmt.Errorf("a record of event %d, and there are %d", kind, taskwatch.NumLists)
	}
	comm, _, ok := bytes.Cut(b[offComm:offComm+16], []byte{0})
	if !ok {
		return nil, errors.New("a record whose comm has no end")
	}
	flags := le.Uint32(b[offFlags:])
	ev := &taskwatch.Event{
		Kind:     taskwatch.Kind(kind),
		Missing:  taskwatch.Fields(le.Uint64(b[offMissing:])),
		Exit:     taskwatch.ExitStatus{Core: flags&flagCore != 0, Group: flags&flagExitGroup != 0},
		Inferred: flags&flagInferred != 0,
		Final:    flags&flagFinal != 0,
		Late:     flags&flagLate != 0,
		Task:     &taskwatch.Task{Comm: string(comm), ArgvCut: flags&flagArgvCut != 0},
	}
	if given := taskwatch.Fields(le.Uint64(b[offGiven:])) & taskwatch.OptionalFields; given != 0 {
		ev.Extra = &taskwatch.Extra{Given: given}
	}
	get((*[Size]byte)(b), ev)
	if unix := int64(le.Uint64(b[offTimeNS:])); unix != 0 {
		ev.Time = time.Unix(0, unix).UTC()
	}
	return ev, nil
}

func idsAt(b []byte) (ids taskwatch.IDs) {
	for i := range ids {
		ids[i] = le.Uint32(b[4*i:])
	}
	return ids
}
