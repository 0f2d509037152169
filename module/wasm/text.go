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

// noText is that of no event. It never changes.
var noText text

func (t *text) set(ev *taskwatch.Event) {
	t.Set(ev)
	t.source = ev.Source
}

// event returns the event that the text and the record are of.
func (t *text) event(record *[wire.Size]byte) *taskwatch.Event {
	ev, err := wire.Decode(record[:])
	if err != nil {
		panic("wasm: " + err.Error()) // it was made by wire.Put
	}
	ev.Source = t.source
	t.Give(ev)
	return ev
}
