package wasm

import (
	"encoding/binary"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// packedEvent is an event that a watcher is called for, as the sandbox gets it: its
// record, and its strings by reference. It does not change while it is held.
type packedEvent struct {
	text *text
	rest *rest // of the record; nil where all of it is zero
	base [wire.Base]byte
}

// rest is what a record has of optional fields.
type rest [wire.Size - wire.Base]byte

// set packs an event. Its rest is part of whole.
func (e *packedEvent) set(ev *taskwatch.Event, whole *[wire.Size]byte) {
	wire.Put(whole, ev)
	copy(e.base[:], whole[:])
	if e.rest = nil; ev.Extra != nil {
		e.rest = (*rest)(whole[wire.Base:])
	}
}

func (e *packedEvent) kind() taskwatch.Kind { return wire.Kind(&e.base) }

// copyTo writes the record into the memory of a module, which knows len(b) bytes of it.
func (e *packedEvent) copyTo(b []byte) {
	n := copy(b, e.base[:])
	if e.rest != nil {
		copy(b[n:], e.rest[:])
	} else {
		clear(b[n:])
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
}

// event returns the event.
func (e *packedEvent) event() *taskwatch.Event {
	var record [wire.Size]byte
	e.copyTo(record[:])
	ev, err := wire.Decode(record[:])
	if err != nil {
		panic("wasm: " + err.Error()) // it was made by wire.Put
	}
	ev.Source = e.text.source
	e.text.Give(ev)
	return ev
}
