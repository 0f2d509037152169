package wasm

import (
	"sync"
	"sync/atomic"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// entry is an event that waits: its record, and its strings by reference. Modules
// that are notified of the event share it. It does not change while it is held.
type entry struct {
	holders atomic.Int32

	of     *taskwatch.Event // whose it is, as are these
	seq    uint64
	monoNS int64

	kind   taskwatch.Kind
	record [wire.Size]byte
	text   text
}

// spare are entries that nobody holds.
var spare = sync.Pool{New: func() any { return new(entry) }}

// latest is the entry that was made last, and holds it: the modules that come next
// are notified of the same event. Sources use an event again, with another number.
var latest struct {
	mu    sync.Mutex // guards what follows; nothing is taken inside of it
	entry *entry
}

// entryOf returns the entry of an event, for a module that reads of parents one of its
// own. The caller releases it.
func entryOf(ev *taskwatch.Event, parents *parents) *entry {
	if parents != nil {
		e := newEntry(ev)
		e.text.ParentExe = parents.exe(ev)
		e.holders.Store(1)
		return e
	}
	latest.mu.Lock()
	defer latest.mu.Unlock()
	if e := latest.entry; e != nil && ev.Seq != 0 && e.is(ev) {
		e.holders.Add(1)
		return e
	}
	e := newEntry(ev)
	e.holders.Store(2)
	if latest.entry != nil {
		latest.entry.release()
	}
	latest.entry = e
	return e
}

// newEntry returns an entry of an event that nobody holds yet.
func newEntry(ev *taskwatch.Event) *entry {
	e := spare.Get().(*entry)
	e.of, e.seq, e.monoNS, e.kind = ev, ev.Seq, ev.MonoNS, ev.Kind
	wire.Put(&e.record, ev)
	e.text.set(ev)
	return e
}

func (e *entry) is(ev *taskwatch.Event) bool {
	return e.of == ev && e.seq == ev.Seq && e.monoNS == ev.MonoNS && e.kind == ev.Kind && e.text.Missing == ev.Missing
}

// release lets go of the entry.
func (e *entry) release() {
	if e.holders.Add(-1) == 0 {
		e.of, e.text = nil, text{} // let go of the strings
		spare.Put(e)
	}
}
