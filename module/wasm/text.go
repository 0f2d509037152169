package wasm

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// text holds what the record of an event has not.
type text struct {
	wire.Strings
	source string
}

func (t *text) set(ev *taskwatch.Event, parentExe string) {
	t.Set(ev)
	t.ParentExe, t.source = parentExe, ev.Source
}

// is reports whether it is that of the event.
func (t *text) is(ev *taskwatch.Event, parentExe string) bool {
	return t.Same(ev) && t.ParentExe == parentExe && t.source == ev.Source
}
