package record

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/taskwatch/taskwatch"
)

// Decode reads one line, with or without its newline. The input need not be
// trusted: every error is a *[SyntaxError], and nothing panics. What it
// returns is independent of line.
//
// The item is empty for a line that this version does not know and that says
// of itself that it is optional, as for the end of a recording.
//
// Every field that belongs to the event and is absent, or named in "missing",
// is in [taskwatch.Event.Missing], and its value is zero.
func Decode(line []byte) (taskwatch.Item, error) {
	it, _, err := decode(line)
	return it, err
}

// decode is Decode, and reports whether the line is the end of a recording.
func decode(line []byte) (it taskwatch.Item, end bool, err error) {
	if !utf8.Valid(line) {
		return taskwatch.Item{}, false, notJSON(line, "the line is not valid UTF-8", nil)
	}
	if ev, ok := newCursor(line).event(); ok {
		return taskwatch.Item{Event: ev}, false, nil
	}
	return parse(line)
}

// parse is decode for a line that may be any JSON.
func parse(line []byte) (it taskwatch.Item, end bool, err error) {
	var raw rawLine
	if err := json.Unmarshal(line, &raw); err != nil {
		return unlike(line, err)
	}
	it, err = raw.item()
	return it, raw.Event != nil && *raw.Event == endName, err
}

// unlike is parse for a line that is none of this version: a newer recorder may
// mean something else by any name but these.
func unlike(line []byte, cause error) (it taskwatch.Item, end bool, err error) {
	var head struct {
		Event    string          `json:"event"`
		Optional bool            `json:"optional"`
		Format   json.RawMessage `json:"format"`
	}
	if json.Unmarshal(line, &head) == nil {
		format, _ := strconv.ParseFloat(string(head.Format), 64)
		switch {
		case head.Optional && head.Event != "" && !known(head.Event):
			return taskwatch.Item{}, head.Event == endName, nil
		case head.Event == startName && format > Format:
			return taskwatch.Item{}, false, formatError(string(head.Format))
		}
	}
	return taskwatch.Item{}, false, jsonError(line, cause)
}

// rawLine is a line as it stands there: pointers tell absent from zero.
type rawLine struct {
	Event    *string `json:"event"`
	Optional bool    `json:"optional"`

	Format    int                      `json:"format"`
	Host      string                   `json:"host"`
	MachineID string                   `json:"machine_id"`
	BootID    string                   `json:"boot_id"`
	Kernel    string                   `json:"kernel"`
	TimeZone  string                   `json:"timezone"`
	Scope     string                   `json:"scope"`
	Command   []string                 `json:"command"`
	Events    map[string]rawStartEvent `json:"events"`

	Path    *string   `json:"path"`
	FD      *int32    `json:"fd"`
	Argv    *[]string `json:"argv"`
	ArgvCut bool      `json:"argv_cut"`

	Count uint64 `json:"count"`

	On        string `json:"on"`
	Module    string `json:"module"`
	Watcher   string `json:"watcher"`
	Errno     uint16 `json:"errno"`
	ErrnoName string `json:"errno_name"`
	Message   string `json:"message"`
	Panic     bool   `json:"panic"`
	Veto      bool   `json:"veto"`
	Killed    bool   `json:"killed"`
	DryRun    bool   `json:"dry_run"`
	Data      string `json:"data"`

	JSON json.RawMessage `json:"json"`

	Val    *uint64  `json:"val"`
	Seq    uint64   `json:"seq"`
	Time   *string  `json:"time"`
	MonoNS int64    `json:"mono_ns"`
	Source string   `json:"source"`
	Task   *rawTask `json:"task"`

	OldExe *string `json:"old_exe"`
	Old    struct {
		UID rawUints `json:"uid"`
		GID rawUints `json:"gid"`
	} `json:"old"`
	Cause *string `json:"cause"`

	Exit   rawExit   `json:"exit"`
	Rusage rawRusage `json:"rusage"`

	LifetimeNS *int64 `json:"lifetime_ns"`
	Inferred   bool   `json:"inferred"`

	Missing []string `json:"missing"`
}

// rawUints is a list of numbers. It is a slice for ids, too, because
// encoding/json takes an array of any length for an array of four.
type rawUints []uint32

// UnmarshalJSON rejects null in the place of a number, which encoding/json
// takes for 0, the id of root.
func (l *rawUints) UnmarshalJSON(text []byte) error {
	var list []*uint32
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*l = nil
	if list != nil {
		*l = make(rawUints, 0, len(list))
	}
	for _, n := range list {
		if n == nil {
			return &SyntaxError{Reason: "null stands in a list of numbers"}
		}
		*l = append(*l, *n)
	}
	return nil
}

func (raw *rawLine) item() (taskwatch.Item, error) {
	switch {
	case raw.Event == nil:
		return taskwatch.Item{}, &SyntaxError{Reason: `there is no "event"`, Remedy: remedyForm}
	case *raw.Event == lostName:
		return taskwatch.Item{Loss: &taskwatch.Loss{Count: raw.Count, Seq: raw.Seq}}, nil
	case *raw.Event == errorName:
		ev, err := raw.event("on", raw.On, true)
		if err != nil {
			return taskwatch.Item{}, err
		}
		f := &taskwatch.Failure{
			Module: decodeString(raw.Module), Watcher: decodeString(raw.Watcher), Kind: ev.Kind,
			Err:   &Error{Errno: int(raw.Errno), Name: decodeString(raw.ErrnoName), Message: decodeString(raw.Message)},
			Crash: raw.Panic, Event: ev,
		}
		switch {
		case raw.Killed:
			f.Verdict = taskwatch.Killed
			ev.Late = true
		case raw.Veto:
			f.Verdict = taskwatch.Denied
		case raw.DryRun:
			f.Verdict = taskwatch.WouldDeny
		}
		return taskwatch.Item{Failure: f}, nil
	case *raw.Event == emitName:
		l, err := raw.record()
		if err != nil {
			return taskwatch.Item{}, err
		}
		return taskwatch.Item{Record: l}, nil
	case *raw.Event == startName:
		s, err := raw.start()
		if err != nil {
			return taskwatch.Item{}, err
		}
		return taskwatch.Item{Start: s}, nil
	case *raw.Event == failedName:
		f, err := raw.failedExec()
		if err != nil {
			return taskwatch.Item{}, err
		}
		return taskwatch.Item{Failed: f}, nil
	case raw.Optional && !known(*raw.Event):
		return taskwatch.Item{}, nil
	}
	ev, err := raw.event("event", *raw.Event, false)
	if err != nil {
		return taskwatch.Item{}, err
	}
	return taskwatch.Item{Event: ev}, nil
}

// known reports whether a line with such an "event" has to be understood.
func known(name string) bool {
	switch name {
	case lostName, errorName, emitName, startName, failedName:
		return true
	}
	_, err := taskwatch.ParseKind(name)
	return err == nil
}

// event builds the event whose kind has the given name, found in the given
// field.
func (raw *rawLine) event(field, kind string, taskOptional bool) (*taskwatch.Event, error) {
	parse := taskwatch.ParseKind
	if taskOptional { // of a failure
		parse = taskwatch.ParseList
	}
	k, err := parse(kind)
	if err != nil {
		return nil, &SyntaxError{Reason: fmt.Sprintf("%q is %q, which this version of taskwatch does not know", field, kind),
			Remedy: "use the version that recorded it", Err: err}
	}
	ev := &taskwatch.Event{Kind: k, Seq: raw.Seq, MonoNS: raw.MonoNS, Source: decodeString(raw.Source)}
	if raw.Time != nil {
		if ev.Time, err = decodeTime(*raw.Time); err != nil {
			return nil, err
		}
	}
	f := fields{want: taskwatch.FieldsOf(k)}
	f.leaveOut(raw.Missing)
	take(&f, taskwatch.FieldVal, &ev.Val, raw.Val)
	switch {
	case raw.Task != nil && (raw.Task.ID != "" || taskOptional):
		if ev.Task, err = raw.Task.task(&f); err != nil {
			return nil, err
		}
	case !taskOptional:
		return nil, &SyntaxError{Reason: `there is no "task" with an "id"`, Remedy: "an event says nothing without its task: keep task.id where recordings are filtered"}
	}
	if err := raw.details(ev, &f); err != nil {
		return nil, err
	}
	ev.Missing = taskwatch.FieldsOf(k)&^f.got | f.missing&taskwatch.OptionalOf(k)
	return ev, raw.extra(ev)
}

// extra takes the optional fields, of which those are missing that are named so.
func (raw *rawLine) extra(ev *taskwatch.Event) error {
	if raw.Task == nil {
		return nil
	}
	var x taskwatch.Extra
	f := fields{want: taskwatch.OptionalOf(ev.Kind) &^ ev.Missing}
	if err := raw.Task.extra(&f, &x); err != nil {
		return err
	}
	if f.got != 0 {
		x.Given = f.got
		ev.Extra = &x
	}
	return nil
}

// details takes what only some kinds of event have.
func (raw *rawLine) details(ev *taskwatch.Event, f *fields) error {
	takeString(f, taskwatch.FieldOldExe, &ev.OldExe, raw.OldExe)
	old, name := raw.Old.UID, "old.uid"
	if ev.Kind == taskwatch.GID {
		old, name = raw.Old.GID, "old.gid"
	}
	if err := takeIDs(f, taskwatch.FieldOld, &ev.OldIDs, old, name); err != nil {
		return err
	}
	if raw.Cause != nil && f.takes(taskwatch.FieldCause) {
		cause, err := decodeCause(*raw.Cause)
		if err != nil {
			return err
		}
		ev.Cause = cause
	}
	raw.Exit.take(f, &ev.Exit)
	raw.Rusage.take(f, &ev.Rusage)
	take(f, taskwatch.FieldLifetime, &ev.LifetimeNS, raw.LifetimeNS)
	ev.Inferred = raw.Inferred && ev.Kind == taskwatch.Free
	return nil
}

func (raw *rawTask) task(f *fields) (*taskwatch.Task, error) {
	t := new(taskwatch.Task)
	var err error
	if raw.ID != "" {
		if t.ID, err = taskwatch.ParseTaskID(raw.ID); err != nil {
			return nil, badID("task.id", raw.ID, err)
		}
	}
	return t, raw.take(f, t)
}

// fields keeps account of what belongs to the event and what was there.
type fields struct{ want, got, missing taskwatch.Fields }

// takes reports whether a field that is there belongs to the event, and
// notes it if so.
func (f *fields) takes(field taskwatch.Fields) bool {
	f.got |= f.want & field
	return f.want.Has(field)
}

// leaveOut takes fields that are named as missing for absent.
func (f *fields) leaveOut(missing []string) {
	for _, name := range missing {
		if m, err := taskwatch.ParseField(name); err == nil { // else a newer recorder's
			f.want &^= m
			f.missing |= m
		}
	}
}

func take[T any](f *fields, field taskwatch.Fields, to, from *T) {
	if from != nil && f.takes(field) {
		*to = *from
	}
}

func takeInt(f *fields, field taskwatch.Fields, to *int, from *int32) {
	if from != nil && f.takes(field) {
		*to = int(*from)
	}
}

func takeString(f *fields, field taskwatch.Fields, to, from *string) {
	if from != nil && f.takes(field) {
		*to = decodeString(*from)
	}
}

func takeStrings(f *fields, field taskwatch.Fields, to, from *[]string) bool {
	if from == nil || !f.takes(field) {
		return false
	}
	for i, s := range *from {
		(*from)[i] = decodeString(s)
	}
	*to = *from
	return true
}

// rawMask is a mask in hexadecimal digits.
type rawMask uint64

func (m *rawMask) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil {
		return &SyntaxError{Reason: fmt.Sprintf("a mask is %q, not up to 16 hexadecimal digits", text), Err: err}
	}
	*m = rawMask(n)
	return nil
}

func takeIDs(f *fields, field taskwatch.Fields, to *taskwatch.IDs, from rawUints, name string) error {
	if from == nil || !f.takes(field) {
		return nil
	}
	if copy(to[:], from) != len(to) || len(from) != len(to) {
		return &SyntaxError{Reason: fmt.Sprintf("%s has %d ids", name, len(from)), Remedy: "want [real, effective, saved, fs]"}
	}
	return nil
}

// decodeTime accepts any RFC 3339 time.
func decodeTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, &SyntaxError{Reason: fmt.Sprintf("time is %q, not RFC 3339", s), Err: err}
	}
	if t = t.UTC(); t.Year() < 0 || t.Year() > 9999 {
		return time.Time{}, &SyntaxError{Reason: fmt.Sprintf("time is %q, whose year in UTC does not have four digits", s)}
	}
	return t, nil
}

func decodeCause(s string) (taskwatch.Cause, error) {
	for _, c := range []taskwatch.Cause{taskwatch.CauseUnknown, taskwatch.CauseSyscall, taskwatch.CauseExec, taskwatch.CauseSetGroups} {
		if c.String() == s {
			return c, nil
		}
	}
	return 0, &SyntaxError{Reason: fmt.Sprintf("cause is %q, neither syscall, exec, setgroups nor unknown", s)}
}
