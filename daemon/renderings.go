package daemon

import (
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// renderings are the lines of the latest items, so that a line is made once for all
// streams with the same optional fields, which come to it at about the same time.
// Streams use it from their goroutines.
type renderings [maxRenderings]rendering

// maxRenderings is how many lines are kept: more than the items that wait for a
// stream without losses.
const maxRenderings = 2048

// rendering is a line of an item.
type rendering struct {
	mu       sync.Mutex     // guards what follows; whoever waits for it would have made the same line
	of       taskwatch.Item // a copy, which never changes
	optional taskwatch.Fields
	line     []byte
}

// maxRendering is how long a line may be to be kept, in bytes: at most 8 MiB are.
const maxRendering = 4 << 10

// append appends the line of an item, which never changes.
func (r *renderings) append(b []byte, it taskwatch.Item, optional taskwatch.Fields) []byte {
	slot := r.slot(it, optional)
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.of == it && slot.optional == optional {
		return append(b, slot.line...)
	}
	from := len(b)
	b = record.AppendFields(b, it, optional)
	if line := b[from:]; len(line) <= maxRendering {
		slot.of, slot.optional, slot.line = it, optional, append(slot.line[:0], line...)
	}
	return b
}

// slot returns where the line of an item is, if it is kept. The lines of other fields,
// and those of failures and records at the same event, are elsewhere, unless by
// accident.
func (r *renderings) slot(it taskwatch.Item, optional taskwatch.Fields) *rendering {
	const spread = 0x9e3779b97f4a7c15
	other := uint64(optional)
	if it.Event == nil {
		other += uint64(categoryOf(it)) << 48
	}
	return &r[(it.Seq()+other*spread>>32)%maxRenderings]
}
