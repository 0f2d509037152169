package record

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/taskwatch/taskwatch"
)

// appendRecord appends the line of a record that a module has sent.
func appendRecord(b []byte, rec *taskwatch.Record) []byte {
	b = append(b, `{"event":"`+emitName+`"`...)
	if rec.Module != "" {
		b = appendString(append(b, `,"module":`...), rec.Module)
	}
	if isJSON(rec.Data) {
		b = appendCompact(append(b, `,"json":`...), rec.Data)
	} else {
		b = append(b, `,"data":"`...)
		b = append(hex.AppendEncode(b, rec.Data), '"')
	}
	missing := taskwatch.FieldsTask
	if rec.Task != nil {
		missing &= rec.Missing
	}
	b = appendOrigin(b, rec.Seq, rec.Time, rec.MonoNS, rec.Source)
	if rec.Task != nil {
		b = appendTask(b, rec.Task, nil, taskwatch.FieldsTask&^missing)
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

// record builds the item of a module's record.
func (raw *rawLine) record() (*taskwatch.Record, error) {
	l := &taskwatch.Record{Module: decodeString(raw.Module), Seq: raw.Seq, MonoNS: raw.MonoNS, Source: decodeString(raw.Source)}
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
