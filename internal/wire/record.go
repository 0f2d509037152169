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
	le.PutUint64(b[offVal:], ev.Val)
	le.PutUint64(b[offSeq:], ev.Seq)
	le.PutUint64(b[offMonoNS:], uint64(ev.MonoNS))
	var unix int64
	if !ev.Time.IsZero() {
		unix = ev.Time.UnixNano()
	}
	le.PutUint64(b[offTimeNS:], uint64(unix))
	le.PutUint64(b[offRun:], t.ID.Run)
	le.PutUint64(b[offN:], t.ID.N)
	le.PutUint64(b[offParentRun:], t.ParentID.Run)
	le.PutUint64(b[offParentN:], t.ParentID.N)
	le.PutUint32(b[offPID:], uint32(t.PID))
	le.PutUint32(b[offTID:], uint32(t.TID))
	le.PutUint32(b[offPPID:], uint32(t.PPID))
	le.PutUint32(b[offArgc:], uint32(len(t.Argv)))
	le.PutUint64(b[offStartNS:], uint64(t.StartNS))
	putIDs(b[offUID:offUID+16], &t.UID)
	putIDs(b[offGID:offGID+16], &t.GID)
	putIDs(b[offOld:offOld+16], &ev.OldIDs)
	le.PutUint32(b[offCause:], uint32(ev.Cause))
	le.PutUint32(b[offExitCode:], uint32(ev.Exit.Code))
	le.PutUint32(b[offExitSignal:], uint32(ev.Exit.Signal))
	le.PutUint32(b[offReserved:], 0)
	r := &ev.Rusage
	le.PutUint64(b[offUtimeNS:], uint64(r.UTimeNS))
	le.PutUint64(b[offStimeNS:], uint64(r.STimeNS))
	le.PutUint64(b[offMaxrss:], r.MaxRSS)
	le.PutUint64(b[offMinflt:], r.MinFlt)
	le.PutUint64(b[offMajflt:], r.MajFlt)
	le.PutUint64(b[offNvcsw:], r.NVCSw)
	le.PutUint64(b[offNivcsw:], r.NIvCSw)
	le.PutUint64(b[offReadBytes:], r.ReadBytes)
	le.PutUint64(b[offWriteBytes:], r.WriteBytes)
	le.PutUint64(b[offLifetimeNS:], uint64(ev.LifetimeNS))
	comm := b[offComm : offComm+16]
	clear(comm)
	copy(comm[:15], t.Comm)
}

// Val returns the val of a record.
func Val(b *[Size]byte) uint64 { return le.Uint64(b[offVal:]) }

func putIDs(b []byte, ids *taskwatch.IDs) {
	_ = b[15]
	le.PutUint32(b, ids[0])
	le.PutUint32(b[4:], ids[1])
	le.PutUint32(b[8:], ids[2])
	le.PutUint32(b[12:], ids[3])
}

func flagsOf(ev *taskwatch.Event) (flags uint32) {
	for _, f := range [...]struct {
		set bool
		bit uint32
	}{
		{ev.Final, flagFinal},
		{ev.Inferred, flagInferred},
		{ev.Task.ArgvCut, flagArgvCut},
		{ev.Exit.Group, flagExitGroup},
		{ev.Exit.Core, flagCore},
		{ev.Late, flagLate},
	} {
		if f.set {
			flags |= f.bit
		}
	}
	return flags
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
	if kind >= taskwatch.NumKinds {
		return nil, fmt.Errorf("a record of event %d, and there are %d", kind, taskwatch.NumKinds)
	}
	comm, _, ok := bytes.Cut(b[offComm:offComm+16], []byte{0})
	if !ok {
		return nil, errors.New("a record whose comm has no end")
	}
	flags := le.Uint32(b[offFlags:])
	ev := &taskwatch.Event{
		Kind:    taskwatch.Kind(kind),
		Val:     le.Uint64(b[offVal:]),
		Seq:     le.Uint64(b[offSeq:]),
		MonoNS:  int64(le.Uint64(b[offMonoNS:])),
		Missing: taskwatch.Fields(le.Uint64(b[offMissing:])),
		Cause:   taskwatch.Cause(le.Uint32(b[offCause:])),
		OldIDs:  idsAt(b[offOld:]),
		Exit: taskwatch.ExitStatus{
			Code:   int(int32(le.Uint32(b[offExitCode:]))),
			Signal: int(int32(le.Uint32(b[offExitSignal:]))),
			Core:   flags&flagCore != 0,
			Group:  flags&flagExitGroup != 0,
		},
		Rusage: taskwatch.Rusage{
			UTimeNS:    int64(le.Uint64(b[offUtimeNS:])),
			STimeNS:    int64(le.Uint64(b[offStimeNS:])),
			MaxRSS:     le.Uint64(b[offMaxrss:]),
			MinFlt:     le.Uint64(b[offMinflt:]),
			MajFlt:     le.Uint64(b[offMajflt:]),
			NVCSw:      le.Uint64(b[offNvcsw:]),
			NIvCSw:     le.Uint64(b[offNivcsw:]),
			ReadBytes:  le.Uint64(b[offReadBytes:]),
			WriteBytes: le.Uint64(b[offWriteBytes:]),
		},
		LifetimeNS: int64(le.Uint64(b[offLifetimeNS:])),
		Inferred:   flags&flagInferred != 0,
		Final:      flags&flagFinal != 0,
		Late:       flags&flagLate != 0,
		Task: &taskwatch.Task{
			ID:       taskwatch.TaskID{Run: le.Uint64(b[offRun:]), N: le.Uint64(b[offN:])},
			ParentID: taskwatch.TaskID{Run: le.Uint64(b[offParentRun:]), N: le.Uint64(b[offParentN:])},
			PID:      int(int32(le.Uint32(b[offPID:]))),
			TID:      int(int32(le.Uint32(b[offTID:]))),
			PPID:     int(int32(le.Uint32(b[offPPID:]))),
			StartNS:  int64(le.Uint64(b[offStartNS:])),
			Comm:     string(comm),
			ArgvCut:  flags&flagArgvCut != 0,
			UID:      idsAt(b[offUID:]),
			GID:      idsAt(b[offGID:]),
		},
	}
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
