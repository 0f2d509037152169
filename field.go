package taskwatch

import (
	"fmt"
	"math/bits"
	"strings"
)

// Fields is a set of fields of an event, used to declare what a source cannot
// give. The zero value is the empty set.
type Fields uint64

// The fields a source may be unable to give. Their names are those of the
// JSON recording.
const (
	FieldVal Fields = 1 << iota
	FieldParentID
	FieldPID
	FieldTID
	FieldPPID
	FieldStart
	FieldComm
	FieldExe
	FieldArgv
	FieldCwd
	FieldUID
	FieldGID
	FieldCgroup
	FieldOldExe
	FieldOld
	FieldCause
	FieldExitCode
	FieldExitSignal
	FieldExitCore
	FieldExitGroup
	FieldUTime
	FieldSTime
	FieldMaxRSS
	FieldMinFlt
	FieldMajFlt
	FieldNVCSw
	FieldNIvCSw
	FieldReadBytes
	FieldWriteBytes
	FieldLifetime

	numFields = iota
)

// AllFields holds every field.
const AllFields Fields = 1<<numFields - 1

// FieldsExit and FieldsRusage are the fields of an exit event's two groups.
const (
	FieldsExit   = FieldExitCode | FieldExitSignal | FieldExitCore | FieldExitGroup
	FieldsRusage = FieldUTime | FieldSTime | FieldMaxRSS | FieldMinFlt | FieldMajFlt |
		FieldNVCSw | FieldNIvCSw | FieldReadBytes | FieldWriteBytes
)

// FieldsTask are the fields that describe the task of an event. An init event
// has none of PID, TID and Start: the task has none yet.
const FieldsTask = FieldParentID | FieldPID | FieldTID | FieldPPID | FieldStart | FieldComm |
	FieldExe | FieldArgv | FieldCwd | FieldUID | FieldGID | FieldCgroup

var fieldNames = [numFields]string{
	"val", "parent_id", "pid", "tid", "ppid", "start_ns", "comm", "exe", "argv", "cwd", "uid", "gid", "cgroup",
	"old_exe", "old", "cause", "exit.code", "exit.signal", "exit.core", "exit.group",
	"rusage.utime_ns", "rusage.stime_ns", "rusage.maxrss_bytes", "rusage.minflt", "rusage.majflt",
	"rusage.nvcsw", "rusage.nivcsw", "rusage.read_bytes", "rusage.write_bytes", "lifetime_ns",
}

// FieldsOf returns all the fields that an event of kind k has when its source
// can give everything.
func FieldsOf(k Kind) Fields {
	switch k {
	case Init:
		return FieldVal | FieldsTask&^(FieldPID|FieldTID|FieldStart)
	case Clone:
		return FieldVal | FieldsTask
	case Exec:
		return FieldVal | FieldsTask | FieldOldExe
	case UID, GID:
		return FieldVal | FieldsTask | FieldOld | FieldCause
	case Exit:
		return FieldVal | FieldsTask | FieldsExit | FieldsRusage
	case Free:
		return FieldVal | FieldsTask | FieldLifetime
	}
	return 0
}

// Has reports whether every field of f is in the set.
func (s Fields) Has(f Fields) bool { return s&f == f }

// Names returns the names of the members, in a fixed order.
func (s Fields) Names() []string {
	var names []string
	for ; s != 0; s &= s - 1 {
		if i := bits.TrailingZeros64(uint64(s)); i < numFields {
			names = append(names, fieldNames[i])
		}
	}
	return names
}

// String returns the names of the members, comma-separated.
func (s Fields) String() string { return strings.Join(s.Names(), ",") }

// ParseField returns the field with the given name.
func ParseField(name string) (Fields, error) {
	for i, n := range fieldNames {
		if n == name {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("taskwatch: unknown field %q", name)
}
