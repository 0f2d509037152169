package record

import (
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// Format is the version of recordings that this package writes. Recordings
// without a start are of format 1.
const Format = 2

// appendStart appends the line that a recording begins with.
func appendStart(b []byte, s *taskwatch.Start) []byte {
	b = append(b, `{"event":"`+startName+`"`...)
	b = appendInt(b, `,"format":`, Format)
	b = appendOrigin(b, 0, s.Time, s.MonoNS, "")
	for _, f := range [...]struct{ key, value string }{
		{`,"host":`, s.Host}, {`,"machine_id":`, s.Machine}, {`,"boot_id":`, s.Boot}, {`,"kernel":`, s.Kernel},
		{`,"timezone":`, s.TimeZone}, {`,"source":`, s.Source}, {`,"scope":`, s.Scope},
	} {
		if f.value != "" {
			b = appendString(append(b, f.key...), f.value)
		}
	}
	if s.Command != nil {
		b = appendStrings(b, `,"command":`, s.Command)
	}
	b = append(b, `,"events":{`...)
	for k := range s.Events {
		e := &s.Events[k]
		if k > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, taskwatch.Kind(k).String()...)
		b = append(b, `":`...)
		start := len(b)
		b = appendMark(b, `,"delivered":true`, e.Delivered)
		b = appendMark(b, `,"veto":true`, e.Veto)
		b = appendMissing(b, e.Missing)
		if e.MayMiss != 0 {
			b = appendStrings(b, `,"may_miss":`, e.MayMiss.Names())
		}
		if e.Hook != "" {
			b = appendString(append(b, `,"hook":`...), e.Hook)
		}
		if e.Why != "" {
			b = appendString(append(b, `,"why":`...), e.Why)
		}
		b = enclose(b, start, "{}")
	}
	return append(b, "}}\n"...)
}

// AppendEnd appends the line that says that nothing is lacking before it.
func AppendEnd(b []byte) []byte { return append(b, `{"event":"`+endName+`","optional":true}`+"\n"...) }

// rawStartEvent is what a start says of one kind of event.
type rawStartEvent struct {
	Delivered bool     `json:"delivered"`
	Veto      bool     `json:"veto"`
	Missing   []string `json:"missing"`
	MayMiss   []string `json:"may_miss"`
	Hook      string   `json:"hook"`
	Why       string   `json:"why"`
}

func (raw *rawLine) start() (*taskwatch.Start, error) {
	if raw.Format < 2 || raw.Format > Format {
		return nil, formatError(strconv.Itoa(raw.Format))
	}
	s := &taskwatch.Start{
		MonoNS: raw.MonoNS, Host: decodeString(raw.Host), Machine: decodeString(raw.MachineID), Boot: decodeString(raw.BootID),
		Kernel: decodeString(raw.Kernel), TimeZone: decodeString(raw.TimeZone), Source: decodeString(raw.Source), Scope: decodeString(raw.Scope),
	}
	if raw.Time != nil {
		var err error
		if s.Time, err = decodeTime(*raw.Time); err != nil {
			return nil, err
		}
	}
	for _, arg := range raw.Command {
		s.Command = append(s.Command, decodeString(arg))
	}
	for name, e := range raw.Events {
		k, err := taskwatch.ParseKind(name)
		if err != nil {
			continue // a newer recorder's
		}
		s.Events[k] = taskwatch.StartEvent{
			Delivered: e.Delivered, Veto: e.Veto, Missing: knownFields(e.Missing), MayMiss: knownFields(e.MayMiss),
			Hook: decodeString(e.Hook), Why: decodeString(e.Why),
		}
	}
	return s, nil
}

func formatError(format string) error {
	return &SyntaxError{Reason: fmt.Sprintf("the recording is of format %s, and this version of taskwatch reads up to %d", format, Format),
		Remedy: "use the version that recorded it"}
}

// knownFields returns the fields of a list that this version knows.
func knownFields(names []string) (s taskwatch.Fields) {
	for _, name := range names {
		f, _ := taskwatch.ParseField(name)
		s |= f
	}
	return s
}

// appendFailedExec appends the line of an exec that failed.
func appendFailedExec(b []byte, f *taskwatch.FailedExec) []byte {
	b = append(b, `{"event":"`+failedName+`","optional":true`...)
	b = appendInt(b, `,"errno":`, int64(f.Errno))
	if name := unix.ErrnoName(f.Errno); name != "" {
		b = appendString(append(b, `,"errno_name":`...), name)
	}
	if !f.NoPath {
		b = appendString(append(b, `,"path":`...), f.Path)
	}
	if f.ByFD {
		b = appendInt(b, `,"fd":`, int64(f.FD))
	}
	if !f.NoArgv {
		b = appendStrings(b, `,"argv":`, f.Argv)
		b = appendMark(b, `,"argv_cut":true`, f.ArgvCut)
	}
	missing := taskwatch.FieldsTask
	if f.Task != nil {
		missing &= f.Missing
	}
	b = appendOrigin(b, f.Seq, f.Time, f.MonoNS, f.Source)
	if f.Task != nil {
		b = appendTask(b, f.Task, nil, taskwatch.FieldsTask&^missing)
	}
	return append(appendMissing(b, missing), "}\n"...)
}

func (raw *rawLine) failedExec() (*taskwatch.FailedExec, error) {
	f := &taskwatch.FailedExec{
		Errno: syscall.Errno(raw.Errno), NoPath: raw.Path == nil, NoArgv: raw.Argv == nil, ArgvCut: raw.ArgvCut && raw.Argv != nil,
		Seq: raw.Seq, MonoNS: raw.MonoNS, Source: decodeString(raw.Source),
	}
	if raw.Path != nil {
		f.Path = decodeString(*raw.Path)
	}
	if raw.FD != nil {
		f.ByFD, f.FD = true, int(*raw.FD)
	}
	if raw.Argv != nil {
		f.Argv = make([]string, 0, len(*raw.Argv))
		for _, arg := range *raw.Argv {
			f.Argv = append(f.Argv, decodeString(arg))
		}
	}
	var err error
	if raw.Time != nil {
		if f.Time, err = decodeTime(*raw.Time); err != nil {
			return nil, err
		}
	}
	got := fields{want: taskwatch.FieldsTask}
	got.leaveOut(raw.Missing)
	if raw.Task != nil {
		if f.Task, err = raw.Task.task(&got); err != nil {
			return nil, err
		}
	}
	f.Missing = taskwatch.FieldsTask &^ got.got
	return f, nil
}

// startPrefix is how the line of a start begins.
const startPrefix = `{"event":"` + startName + `"`
