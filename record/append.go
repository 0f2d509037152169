package record

import (
	"math/bits"
	"strconv"
	"time"

	"github.com/taskwatch/taskwatch"
)

// appendEvent appends the line of ev. A field is written when it belongs to
// the kind of event and is not missing. Of a nil task everything is missing.
func appendEvent(b []byte, ev *taskwatch.Event, optional taskwatch.Fields) []byte {
	b = append(b, `{"event":"`...)
	b = append(b, ev.Kind.String()...)
	b = append(b, '"')
	b = appendFacts(b, ev, optional)
	return append(b, "}\n"...)
}

func appendLoss(b []byte, l *taskwatch.Loss) []byte {
	b = append(b, `{"event":"`+lostName+`"`...)
	if l.Count != 0 {
		b = appendUint(b, `,"count":`, l.Count)
	}
	if l.Seq != 0 {
		b = appendUint(b, `,"seq":`, l.Seq)
	}
	return append(b, "}\n"...)
}

func appendFailure(b []byte, f *taskwatch.Failure, optional taskwatch.Fields) []byte {
	b = append(b, `{"event":"`+errorName+`","on":"`...)
	b = append(b, f.Kind.String()...)
	b = append(b, '"')
	if f.Module != "" {
		b = appendString(append(b, `,"module":`...), f.Module)
	}
	if f.Watcher != "" {
		b = appendString(append(b, `,"watcher":`...), f.Watcher)
	}
	cause := causeOf(f)
	if cause.Errno != 0 {
		b = appendInt(b, `,"errno":`, int64(cause.Errno))
	}
	if cause.Name != "" {
		b = appendString(append(b, `,"errno_name":`...), cause.Name)
	}
	if cause.Message != "" {
		b = appendString(append(b, `,"message":`...), cause.Message)
	}
	b = appendMark(b, `,"panic":true`, f.Crash)
	b = appendMark(b, `,"veto":true`, f.Verdict == taskwatch.Denied || f.Verdict == taskwatch.Killed)
	b = appendMark(b, `,"killed":true`, f.Verdict == taskwatch.Killed)
	b = appendMark(b, `,"dry_run":true`, f.Verdict == taskwatch.WouldDeny)
	ev := f.Event
	if ev == nil {
		ev = &taskwatch.Event{Kind: f.Kind, Missing: taskwatch.FieldsOf(f.Kind)}
	}
	b = appendFacts(b, ev, optional)
	return append(b, "}\n"...)
}

// appendFacts appends everything of ev but its kind, each field with a comma
// before it.
func appendFacts(b []byte, ev *taskwatch.Event, optional taskwatch.Fields) []byte {
	optional &= taskwatch.OptionalOf(ev.Kind)
	all := taskwatch.FieldsOf(ev.Kind) | ev.Missing&optional
	if ev.Extra != nil {
		all |= ev.Extra.Given & optional
	}
	has := all &^ ev.Missing
	if ev.Task == nil {
		has &^= taskwatch.FieldsTask
	}
	if has.Has(taskwatch.FieldVal) {
		b = appendUint(b, `,"val":`, ev.Val)
	}
	b = appendOrigin(b, ev.Seq, ev.Time, ev.MonoNS, ev.Source)
	if ev.Task != nil {
		b = appendTask(b, ev.Task, ev.Extra, has)
	}
	switch ev.Kind {
	case taskwatch.Exec:
		if has.Has(taskwatch.FieldOldExe) {
			b = appendString(append(b, `,"old_exe":`...), ev.OldExe)
		}
	case taskwatch.UID, taskwatch.GID:
		b = appendChange(b, ev, has)
	case taskwatch.Exit:
		b = appendExit(b, &ev.Exit, has)
		b = appendRusage(b, &ev.Rusage, has)
	case taskwatch.Free:
		if has.Has(taskwatch.FieldLifetime) {
			b = appendInt(b, `,"lifetime_ns":`, ev.LifetimeNS)
		}
		b = appendMark(b, `,"inferred":true`, ev.Inferred)
	}
	return appendMissing(b, all&^has)
}

// appendOrigin appends when something happened and who told it.
func appendOrigin(b []byte, seq uint64, at time.Time, mono int64, source string) []byte {
	if seq != 0 {
		b = appendUint(b, `,"seq":`, seq)
	}
	if !at.IsZero() {
		b = append(b, `,"time":"`...)
		b = appendTime(b, at)
		b = append(b, '"')
	}
	if mono != 0 {
		b = appendInt(b, `,"mono_ns":`, mono)
	}
	if source != "" {
		b = appendString(append(b, `,"source":`...), source)
	}
	return b
}

// appendTask appends the task, and the optional fields, of which the given ones
// are there.
func appendTask(b []byte, t *taskwatch.Task, x *taskwatch.Extra, has taskwatch.Fields) []byte {
	b = append(b, `,"task":`...)
	start := len(b)
	if !t.ID.IsZero() {
		b = append(b, `,"id":"`...)
		b = append(t.ID.Append(b), '"')
	}
	b = appendTaskFields(b, t, has)
	if x != nil {
		b = appendExtra(b, x, has)
	}
	return enclose(b, start, "{}")
}

func appendChange(b []byte, ev *taskwatch.Event, has taskwatch.Fields) []byte {
	if has.Has(taskwatch.FieldOld) {
		key := `"uid":`
		if ev.Kind == taskwatch.GID {
			key = `"gid":`
		}
		b = append(b, `,"old":{`...)
		b = append(appendUints(b, key, ev.OldIDs[:]), '}')
	}
	if has.Has(taskwatch.FieldCause) {
		b = appendString(append(b, `,"cause":`...), ev.Cause.String())
	}
	return b
}

// fieldNames is Fields.Names without its allocation.
var fieldNames = func() (names [64]string) {
	for i := range names {
		names[i] = taskwatch.Fields(1 << i).String()
	}
	return names
}()

func appendMissing(b []byte, missing taskwatch.Fields) []byte {
	if missing == 0 {
		return b
	}
	b = append(b, `,"missing":`...)
	start := len(b)
	for ; missing != 0; missing &= missing - 1 {
		b = append(b, `,"`...)
		b = append(b, fieldNames[bits.TrailingZeros64(uint64(missing))]...)
		b = append(b, '"')
	}
	return enclose(b, start, "[]")
}

// enclose puts what stands behind start, members with a comma before each, into
// a pair of brackets: the first comma becomes the opening one.
func enclose(b []byte, start int, brackets string) []byte {
	if len(b) == start {
		return append(b, brackets...)
	}
	b[start] = brackets[0]
	return append(b, brackets[1])
}

func appendUint(b []byte, key string, v uint64) []byte {
	return appendNumber(append(b, key...), v)
}

// appendNumber appends a number, which most often has one digit: ids of root, what
// of a rusage is zero.
func appendNumber(b []byte, v uint64) []byte {
	if v < 10 {
		return append(b, '0'+byte(v))
	}
	return strconv.AppendUint(b, v, 10)
}

func appendInt(b []byte, key string, v int64) []byte {
	return strconv.AppendInt(append(b, key...), v, 10)
}

func appendMark(b []byte, mark string, set bool) []byte {
	if set {
		return append(b, mark...)
	}
	return b
}

func appendStrings(b []byte, key string, list []string) []byte {
	b = append(append(b, key...), '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

func appendUints(b []byte, key string, list []uint32) []byte {
	b = append(append(b, key...), '[')
	for i, n := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendNumber(b, uint64(n))
	}
	return append(b, ']')
}

// appendMask appends the sixteen digits that /proc/PID/status has of a mask.
func appendMask(b []byte, key string, mask uint64) []byte {
	b = append(append(b, key...), '"')
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[mask>>shift&15])
	}
	return append(b, '"')
}

// timeLayout is time.RFC3339Nano in UTC with all nine digits.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// appendTime appends t in that layout, in less than a quarter of the time that
// time.AppendFormat takes.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, timeLayout)
	}
	hour, minute, second := t.Clock()
	ns := t.Nanosecond()
	b = append(b, timeLayout...)
	d := b[len(b)-len(timeLayout):]
	putPair(d[0:], year/100)
	putPair(d[2:], year%100)
	putPair(d[5:], int(month))
	putPair(d[8:], day)
	putPair(d[11:], hour)
	putPair(d[14:], minute)
	putPair(d[17:], second)
	putPair(d[20:], ns/1e7)
	putPair(d[22:], ns/1e5%100)
	putPair(d[24:], ns/1e3%100)
	putPair(d[26:], ns/10%100)
	d[28] = byte('0' + ns%10)
	return b
}

// putPair puts the two digits of n at the beginning of b.
func putPair(b []byte, n int) {
	b[0], b[1] = byte('0'+n/10), byte('0'+n%10)
}
