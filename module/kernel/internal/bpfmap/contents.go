package bpfmap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/taskwatch/taskwatch/module"
)

// EachLine calls fn with the entries of a content, lines {"key":...,"value":...}, and
// says in the error which it is.
func EachLine(lines []byte, fn func(key, value string) error) error {
	dec := json.NewDecoder(bytes.NewReader(lines))
	dec.DisallowUnknownFields()
	for n := 1; ; n++ {
		var e struct{ Key, Value json.RawMessage }
		err := dec.Decode(&e)
		if err == io.EOF {
			return nil
		}
		if err != nil || e.Key == nil || e.Value == nil {
			return fmt.Errorf(`entry %d %w: want {"key":...,"value":...}`, n, module.ErrBadEntry)
		}
		if err := fn(string(e.Key), string(e.Value)); err != nil {
			return fmt.Errorf("entry %d: %w", n, err)
		}
	}
}
