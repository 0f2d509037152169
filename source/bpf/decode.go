package bpf

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/label"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// recordKind is enum tw_kind of c/constants.h.
type recordKind uint16

// recordFlags are enum tw_flags of c/constants.h.
type recordFlags uint16

// record is what one record of the ring buffer says. Byte slices are borrowed
// from the buffer. A free has nothing behind val, and no pids.
type record struct {
	kind           recordKind
	flags          recordFlags
	pid, tid, ppid int
	lost, dropped  uint32 // running counts, modulo 2^32
	timeNS         int64  // CLOCK_MONOTONIC
	task           uint64 // address: identifies the task as long as it is not freed
	start          int64  // CLOCK_BOOTTIME
	val            uint64
	creator        uint64 // init and clone: address of the task that called fork; exec, exit and task: how many execs led to its program
	cgroup         uint64 // id
	uid, gid       taskwatch.IDs
	comm           []byte
	dir            uint64 // the number of the working directory, or 0

	// UID and GID only. old is not known if cause is CauseUnknown.
	old   taskwatch.IDs
	cause taskwatch.Cause

	// Exit only.
	utime, stime, runtime         int64
	maxrss                        uint64 // pages
	minflt, majflt, nvcsw, nivcsw uint64
	readBytes, writeBytes         uint64

	// Exec, argv, cgroup and task only. Paths are as the kernel side wrote
	// them: see appendPath. A cgroup's path is in exe.
	exe, cwd, argv []byte
	extra          taskwatch.Extra
	argvOff        int // how much of argv was in the pieces before; of a report, the error number; of a record, its type

	// What parts.take adds. Strings are "" where they could not be read.
	exePath, cwdPath string   // of the same as exe and cwd
	args             []string // exec and task only: the whole argv
	argsCut          bool
	told             *taskwatch.Extra // what was told besides, or nil; borrowed
}

// The sizes of struct tw_rec, tw_ids, tw_exit and tw_data, and of the part of
// tw_rec that a free has.
const (
	freeSize = 56
	recSize  = 128
	idsSize  = recSize + 24
	exitSize = recSize + 80
	dataSize = recSize + 16

	extraSize = recSize + 96 + 4*maxGroups + 16 + label.Size + 8
)

// minSize returns how long a record with such flags is at least.
func (k recordKind) minSize(flags recordFlags) int {
	switch k {
	case recordUID, recordGID:
		return idsSize
	case recordExit:
		if flags&flagNoUsage != 0 {
			return recSize
		}
		return exitSize
	case recordExec, recordArgv, recordCgroup, recordTask, recordCwd, recordAbout, recordProgram, recordFailed, recordReport, recordEmit:
		return dataSize
	case recordExtra:
		return extraSize
	case recordFree:
		return freeSize
	}
	return recSize
}

// decode reads one record of the ring buffer into r. It returns an error for
// what no record can be, and never reads outside b.
func (r *record) decode(b []byte) error {
	if len(b) < freeSize {
		return fmt.Errorf("bpf: record of %d bytes, shorter than any", len(b))
	}
	le := binary.NativeEndian
	kind := recordKind(le.Uint16(b))
	if kind >= numRecordKinds {
		return fmt.Errorf("bpf: record of unknown kind %d", kind)
	}
	size := kind.minSize(recordFlags(le.Uint16(b[2:])))
	if len(b) < size {
		return fmt.Errorf("bpf: record of kind %d with %d bytes, want at least %d", kind, len(b), size)
	}
	r.kind = kind
	r.flags = recordFlags(le.Uint16(b[2:]))
	r.pid = int(le.Uint32(b[4:]))
	r.tid = int(le.Uint32(b[8:]))
	r.ppid = int(le.Uint32(b[12:]))
	r.lost = le.Uint32(b[16:])
	r.dropped = le.Uint32(b[20:])
	r.timeNS = int64(le.Uint64(b[24:]))
	r.task = le.Uint64(b[32:])
	r.start = int64(le.Uint64(b[40:]))
	r.val = le.Uint64(b[48:])
	if size == freeSize {
		return nil
	}
	h := b[:recSize:recSize]
	r.creator = le.Uint64(h[56:])
	r.cgroup = le.Uint64(h[64:])
	r.uid, r.gid = decodeIDs(h[72:]), decodeIDs(h[88:])
	r.comm = upToNUL(h[104:120])
	r.dir = le.Uint64(h[120:])
	r.exe, r.cwd, r.argv = nil, nil, nil
	switch size {
	case idsSize:
		r.old = decodeIDs(b[recSize:])
		r.cause = decodeCause(b[recSize+16:])
	case exitSize:
		r.decodeExit(b[recSize:exitSize])
	case extraSize:
		r.decodeExtra(b[recSize:extraSize])
	case dataSize:
		return r.decodeData(b[recSize:])
	}
	return nil
}

func decodeIDs(b []byte) (ids taskwatch.IDs) {
	for i := range ids {
		ids[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return ids
}

func decodeCause(b []byte) taskwatch.Cause {
	return taskwatch.Cause(min(binary.NativeEndian.Uint32(b), uint32(taskwatch.CauseSetGroups)))
}

func (r *record) decodeExit(b []byte) {
	le := binary.NativeEndian
	r.utime = int64(le.Uint64(b))
	r.stime = int64(le.Uint64(b[8:]))
	r.runtime = int64(le.Uint64(b[16:]))
	r.maxrss = le.Uint64(b[24:])
	r.minflt = le.Uint64(b[32:])
	r.majflt = le.Uint64(b[40:])
	r.nvcsw = le.Uint64(b[48:])
	r.nivcsw = le.Uint64(b[56:])
	r.readBytes = le.Uint64(b[64:])
	r.writeBytes = le.Uint64(b[72:])
}

// extraParts are the fields that a TW_EXTRA may lack.
var extraParts = [...]struct {
	bit    uint32
	fields taskwatch.Fields
}{
	{hasAudit, taskwatch.FieldAUID | taskwatch.FieldSessionID},
	{hasNS, taskwatch.FieldNSMnt | taskwatch.FieldNSNet},
	{hasPID, taskwatch.FieldNSPID | taskwatch.FieldVPID},
	{hasExe, taskwatch.FieldExeDev | taskwatch.FieldExeIno},
	{hasSecure, taskwatch.FieldCapsSecure},
	{hasGroups, taskwatch.FieldGroups},
	{hasGained, taskwatch.FieldCapsGained},
	{hasLabel, taskwatch.FieldLabel},
}

// decodeExtra reads struct tw_extra.
func (r *record) decodeExtra(b []byte) {
	le := binary.NativeEndian
	dev, tty, groups := le.Uint32(b[80:]), le.Uint32(b[84:]), le.Uint32(b[92:])
	x := &r.extra
	*x = taskwatch.Extra{
		AUID: le.Uint32(b[4:]), SessionID: le.Uint32(b[8:]),
		NSMnt: le.Uint32(b[12:]), NSPID: le.Uint32(b[16:]), NSNet: le.Uint32(b[20:]), NSUser: le.Uint32(b[24:]),
		VPID:          int(le.Uint32(b[28:])),
		CapsEffective: le.Uint64(b[32:]), CapsPermitted: le.Uint64(b[40:]), CapsInheritable: le.Uint64(b[48:]),
		CapsBounding: le.Uint64(b[56:]), CapsAmbient: le.Uint64(b[64:]),
		Nice: int(int32(le.Uint32(b[96+4*maxGroups:]))), CapsGained: le.Uint64(b[104+4*maxGroups:]),
		SID:    int(le.Uint32(b[112+4*maxGroups+label.Size:])),
		ExeIno: le.Uint64(b[72:]), ExeDev: unix.Mkdev(dev>>20, dev&(1<<20-1)),
		TTY: procfs.TTYName(tty>>20, tty&(1<<20-1)), CapsSecure: le.Uint32(b[88:]) != 0,
		Given: taskwatch.FieldCapsEffective | taskwatch.FieldCapsPermitted | taskwatch.FieldCapsInheritable |
			taskwatch.FieldCapsBounding | taskwatch.FieldCapsAmbient | taskwatch.FieldNSUser | taskwatch.FieldTTY | taskwatch.FieldNice | taskwatch.FieldSID,
	}
	has := le.Uint32(b)
	for _, part := range extraParts {
		if has&part.bit != 0 {
			x.Given |= part.fields
		}
	}
	if has&hasLabel != 0 {
		l := label.Label{Form: le.Uint32(b[100+4*maxGroups:])}
		copy(l.Bytes[:], b[112+4*maxGroups:])
		x.Label = l.String()
	}
	if has&hasGroups != 0 {
		x.Groups = make([]uint32, min(groups, maxGroups))
		for i := range x.Groups {
			x.Groups[i] = le.Uint32(b[96+4*i:])
		}
	}
}

func (r *record) decodeData(b []byte) error {
	le := binary.NativeEndian
	exe, cwd, argv := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[8:]))
	r.argvOff = int(le.Uint32(b[12:]))
	b = b[dataSize-recSize:]
	if exe+cwd+argv > uint64(len(b)) {
		return fmt.Errorf("bpf: record of kind %d says it holds %d+%d+%d bytes and has %d", r.kind, exe, cwd, argv, len(b))
	}
	r.exe, b = b[:exe], b[exe:]
	r.cwd, b = b[:cwd], b[cwd:]
	r.argv = b[:argv]
	return nil
}

func upToNUL(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// appendPath appends the path whose names stand in names from the leaf to the
// root, each ended by a NUL.
func appendPath(dst, names []byte) []byte {
	if len(names) == 0 {
		return append(dst, '/')
	}
	for end := len(names); end > 0; {
		if names[end-1] == 0 {
			end--
		}
		start := bytes.LastIndexByte(names[:end], 0) + 1
		dst = append(dst, '/')
		dst = append(dst, names[start:end]...)
		end = start
	}
	return dst
}

// splitArgs returns the strings of an argument area, each ended by a NUL, but
// the last where the area was cut.
func splitArgs(area []byte) []string {
	n := bytes.Count(area, []byte{0})
	if len(area) > 0 && area[len(area)-1] != 0 {
		n++
	}
	args := make([]string, 0, n)
	text := string(area) // one copy that all arguments share
	for start := 0; start < len(area); {
		end := bytes.IndexByte(area[start:], 0)
		if end < 0 {
			args = append(args, text[start:])
			break
		}
		args = append(args, text[start:start+end])
		start += end + 1
	}
	return args
}
