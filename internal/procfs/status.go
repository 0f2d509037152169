package procfs

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// Status is what status says of a task. A line that the kernel did not write
// leaves its field 0.
type Status struct {
	Comm           string // as it is: the escapes of the file are undone
	PID, TID, PPID int
	TracerPID      int
	UID, GID       taskwatch.IDs
	HWMBytes       uint64 // high-water mark of the process's resident memory
	CapEff         uint64
	SigIgn         uint64 // the signals that are ignored, signal N in bit N-1
	ShdPnd         uint64 // those that wait for any task of the process
	NVCSw, NIvCSw  uint64
}

// parseStatus reads the content of a status file.
func parseStatus(b []byte) (Status, error) {
	var s Status
	found := 0
	for line := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
		if !ok {
			continue
		}
		value = bytes.TrimLeft(value, "\t ")
		switch string(key) {
		case "Name":
			s.Comm = unescape(value)
		case "Tgid":
			s.PID = int(number(value))
			found++
		case "Pid":
			s.TID = int(number(value))
			found++
		case "PPid":
			s.PPID = int(number(value))
		case "TracerPid":
			s.TracerPID = int(number(value))
		case "Uid":
			s.UID = parseIDs(value)
			found++
		case "Gid":
			s.GID = parseIDs(value)
			found++
		case "VmHWM":
			s.HWMBytes = number(value) << 10
		case "CapEff":
			s.CapEff, _ = strconv.ParseUint(string(value), 16, 64)
		case "ShdPnd":
			s.ShdPnd, _ = strconv.ParseUint(string(value), 16, 64)
		case "SigIgn":
			s.SigIgn, _ = strconv.ParseUint(string(value), 16, 64)
		case "voluntary_ctxt_switches":
			s.NVCSw = number(value)
		case "nonvoluntary_ctxt_switches":
			s.NIvCSw = number(value)
		}
	}
	if found != 4 {
		return Status{}, ErrSyntax
	}
	return s, nil
}

// unescape undoes what the kernel does to newlines and backslashes in the
// Name line (proc_task_name in fs/proc/array.c).
func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	return escapes.Replace(string(b))
}

var escapes = strings.NewReplacer(`\n`, "\n", `\\`, `\`)

func parseIDs(b []byte) (ids taskwatch.IDs) {
	for i := range ids {
		b = bytes.TrimLeft(b, "\t ")
		ids[i] = uint32(number(b))
		b = b[max(bytes.IndexAny(b, "\t "), 0):]
	}
	return ids
}
