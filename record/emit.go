package record

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/taskwatch/taskwatch"
)

// EmitLine is a record of a module's own that it has sent to user space
// (task_watcher_emit), as it is recorded.
type EmitLine struct {
	Module string
	Data   []byte // what the module has sent: JSON text, or what only the module knows the meaning of

	Time   time.Time
	MonoNS int64
	Source string

	// Task is the task in whose context it was sent, nil if that is unknown.
	// Its fields that are in Missing are meaningless.
	Task    *taskwatch.Task
	Missing taskwatch.Fields // of taskwatch.FieldsTask
}

// AppendEmit appends the line of l, newline included, to b.
func AppendEmit(b []byte, l *EmitLine) []byte {
	b = append(b, `{"event":"`+emitName+`"`...)
	if l.Module != "" {
		b = appendString(append(b, `,"module":`...), l.Module)
	}
	if isJSON(l.Data) {
		b = appendCompact(append(b, `,"json":`...), l.Data)
	} else {
		b = append(b, `,"data":"`...)
		b = append(hex.AppendEncode(b, l.Data), '"')
	}
	missing := taskwatch.FieldsTask
	if l.Task != nil {
		missing &= l.Missing
	}
	b = appendOrigin(b, 0, l.Time, l.MonoNS, l.Source)
	if l.Task != nil {
		b = appendTask(b, l.Task, taskwatch.FieldsTask&^missing)
	}
	return append(appendMissing(b, missing), "}\n"...)
}

// isJSON reports whether b is a JSON object or array that can stand in a line
// as it is. A number, say, may well be something else, and is left to "data".
func isJSON(b []byte) bool {
	text := bytes.TrimLeft(b, " \t\r\n")
	if len(text) == 0 || text[0] != '{' && text[0] != '[' || !utf8.Valid(b) {
		return false
	}
	// What strings of a recording never hold: see the package comment.
	return !bytes.ContainsFunc(b, func(r rune) bool { return r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 }) &&
		json.Valid(b)
}

// appendCompact appends valid JSON without the space between its parts.
func appendCompact(b, text []byte) []byte {
	buf := bytes.NewBuffer(b)
	if err := json.Compact(buf, text); err != nil {
		panic("record: " + err.Error()) // isJSON has looked
	}
	return buf.Bytes()
}

// emit builds the line of a module's record.
func (raw *rawLine) emit() (*EmitLine, error) {
	l := &EmitLine{Module: decodeString(raw.Module), MonoNS: raw.MonoNS, Source: decodeString(raw.Source)}
	var err error
	if raw.JSON != nil {
		l.Data = appendCompact(nil, raw.JSON)
	} else if l.Data, err = hex.DecodeString(raw.Data); err != nil {
		return nil, &SyntaxError{Reason: fmt.Sprintf("data is %q, not bytes in hexadecimal", raw.Data), Err: err}
	}
	if raw.Time != nil {
		if l.Time, err = decodeTime(*raw.Time); err != nil {
			return nil, err
		}
	}
	f := fields{want: taskwatch.FieldsTask}
	f.leaveOut(raw.Missing)
	if raw.Task != nil {
		if l.Task, err = raw.Task.task(&f); err != nil {
			return nil, err
		}
	}
	l.Missing = taskwatch.FieldsTask &^ f.got
	return l, nil
}
