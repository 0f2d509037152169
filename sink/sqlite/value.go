package sqlite

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/taskwatch/taskwatch"
)

// idNames are the columns of a field with four ids.
var idNames = [...]string{"", "e", "s", "fs"}

func isIDs(f taskwatch.Fields) bool {
	return f == taskwatch.FieldUID || f == taskwatch.FieldGID || f == taskwatch.FieldOld
}

// columns returns the names of the columns of a field: the field's name with an
// underscore for the dot.
func columns(f taskwatch.Fields) []string {
	name := strings.ReplaceAll(f.Info().Name, ".", "_")
	if !isIDs(f) {
		return []string{name}
	}
	var list []string
	for _, p := range idNames {
		if name == "old" {
			list = append(list, "old_"+p+"id")
		} else {
			list = append(list, p+name)
		}
	}
	return list
}

// appendValue appends a literal. SQL's numbers are signed 64-bit integers. A
// text that SQL cannot hold becomes a blob.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case int64:
		return strconv.AppendInt(b, v, 10)
	case string:
		if !utf8.ValidString(v) || strings.ContainsAny(v, "\x00\r\n") {
			b = append(b, "CAST(X'"...)
			b = hex.AppendEncode(b, []byte(v))
			return append(b, "' AS TEXT)"...)
		}
		b = append(b, '\'')
		b = append(b, strings.ReplaceAll(v, "'", "''")...)
		return append(b, '\'')
	case []string:
		return appendValue(b, list(v))
	}
	return append(b, "NULL"...)
}

// list returns texts as a JSON array, for json_each and json_extract.
func list(texts []string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if texts == nil {
		texts = []string{}
	}
	_ = enc.Encode(texts) // texts always can be
	return strings.TrimSuffix(b.String(), "\n")
}

// timeOf returns a time for a column.
func timeOf(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// valueOf returns a value for a column.
func valueOf(v taskwatch.Value) any {
	switch v.Type() {
	case taskwatch.TypeInt, taskwatch.TypeUint:
		return v.Int()
	case taskwatch.TypeBool:
		if v.Bool() {
			return int64(1)
		}
		return int64(0)
	case taskwatch.TypeStrings:
		return v.Strings()
	case taskwatch.TypeUints:
		text, _ := json.Marshal(v.Uints()) // numbers always can be
		return string(text)
	}
	return v.String()
}
