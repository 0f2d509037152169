package wasm

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// Emitted is a record of its own that a module has sent.
type Emitted struct {
	Module string
	Data   []byte

	// Event is the one that the module was called with.
	Event *taskwatch.Event
}

// Line returns the record as it is recorded. It borrows what e borrows.
func (e *Emitted) Line() *record.EmitLine {
	ev := e.Event
	return &record.EmitLine{
		Module: e.Module, Data: e.Data, Time: ev.Time, MonoNS: ev.MonoNS, Source: ev.Source,
		Task: ev.Task, Missing: taskwatch.FieldsTask & (ev.Missing | ^taskwatch.FieldsOf(ev.Kind)),
	}
}
