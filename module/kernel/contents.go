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
		if err := m.UpdateMap(name, string(e.Key), string(e.Value)); err != nil {
			return fmt.Errorf("entry %d: %w", n, errors.Unwrap(err))
		}
	}
}
