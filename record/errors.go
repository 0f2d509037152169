package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

const remedyForm = "want one JSON object a line, as `taskwatch run -f json` writes it"

// SyntaxError says that a line of a recording cannot be used.
type SyntaxError struct {
	File   string // what NewReader was told; "" for a line decoded alone
	Line   int    // from 1; 0 for a line decoded alone
	Reason string
	Remedy string // "" if there is none to give
	Err    error  // the cause, or nil
}

func (e *SyntaxError) Error() string {
	var b strings.Builder
	b.WriteString("record: ")
	if e.File != "" {
		fmt.Fprintf(&b, "%q: ", e.File)
	}
	if e.Line != 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	b.WriteString(e.Reason)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *SyntaxError) Unwrap() error { return e.Err }

// unexpectedEnd is what encoding/json says of text that is cut off; it has no
// type or value for it.
const unexpectedEnd = "unexpected end of JSON input"

// jsonError says what is wrong with a line that encoding/json rejected.
func jsonError(line []byte, err error) error {
	var (
		own    *SyntaxError
		syntax *json.SyntaxError
		typ    *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &own):
		return notJSON(line, own.Reason, own.Err)
	case errors.As(err, &typ):
		where := "the line"
		if typ.Field != "" {
			where = typ.Field
		}
		return notJSON(line, fmt.Sprintf("%s is a JSON %s, where %s belongs", where, typ.Value, goodName(typ.Type)), err)
	case errors.As(err, &syntax) && syntax.Error() == unexpectedEnd:
		return notJSON(line, "the JSON object does not end", io.ErrUnexpectedEOF)
	case errors.As(err, &syntax):
		return notJSON(line, fmt.Sprintf("not JSON, at byte %d: %v", syntax.Offset, err), err)
	}
	return notJSON(line, err.Error(), err)
}

// goodName says in JSON's words what a Go type takes.
func goodName(typ reflect.Type) string {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ == reflect.TypeFor[rawMask]() {
		return "a string"
	}
	switch kind := typ.Kind(); kind {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0 on (" + kind.String() + ")"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number (" + kind.String() + ")"
	}
	return "an object"
}

// notJSON guesses from the first bytes what was given instead of a recording.
func notJSON(line []byte, reason string, cause error) error {
	e := &SyntaxError{Reason: reason, Remedy: remedyForm, Err: cause}
	switch text := bytes.TrimSpace(line); {
	case slices.ContainsFunc(compressed, func(magic string) bool { return bytes.HasPrefix(line, []byte(magic)) }):
		e.Reason, e.Remedy = "the file is compressed", "decompress it first"
	case bytes.HasPrefix(text, []byte("[")):
		e.Remedy = "want one object a line, not a list: jq -c '.[]' makes lines of it"
	case string(text) == "{":
		e.Remedy = "put each object on a separate line: jq -c . does that"
	}
	return e
}

// compressed are the first bytes of what gzip, zstd, xz and bzip2 write.
var compressed = []string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd7zXZ\x00", "BZh"}
