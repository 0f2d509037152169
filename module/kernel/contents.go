package kernel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/taskwatch/taskwatch/module"
)

// fill gives a map its first entries: lines {"key":...,"value":...}.
func (m *Module) fill(name string, lines []byte) error {
	if err := m.withMap(name, func(*openMap) error { return nil }); err != nil {
		return errors.Unwrap(err) // the module and the map are said by the caller
	}
	return eachEntry(lines, func(key, value string) error {
		if err := m.UpdateMap(name, key, value); err != nil {
			return errors.Unwrap(err)
		}
		return nil
	})
}

// eachEntry calls fn with the entries of a content, and says in the error which it is.
func eachEntry(lines []byte, fn func(key, value string) error) error {
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
