package daemon

import (
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// renderings are the lines of the latest items of a ring, so that a line is made once
// for all streams with the same optional fields, which read it at about the same
// time. Streams use it from their goroutines.
type renderings [1024]rendering

// rendering is a line of an item.
type rendering struct {
	mu       sync.Mutex // guards what follows; whoever waits for it would have made the same line
	of       uint64     // index of the item in the ring, plus 1; 0 of none
	optional taskwatch.Fields
	line     []byte
}

// maxRendering is how long a line may be to be kept, in bytes: at most 4 MiB are.
const maxRendering = 4 << 10

// append appends the line of the item with an index.
func (r *renderings) append(b []byte, index uint64, it taskwatch.Item, optional taskwatch.Fields) []byte {
	// The lines of other fields are elsewhere, unless by accident.
	slot := &r[(index+uint64(optional)*0x9e3779b97f4a7c15>>32)%uint64(len(r))]
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.of == index+1 && slot.optional == optional {
		return append(b, slot.line...)
	}
	from := len(b)
	b = record.AppendFields(b, it, optional)
	if line := b[from:]; len(line) <= maxRendering {
		slot.of, slot.optional, slot.line = index+1, optional, append(slot.line[:0], line...)
	}
	return b
}
