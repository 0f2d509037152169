package daemon

import (
	"sync"

	"github.com/taskwatch/taskwatch"
)

// copies makes one copy of an item for all streams, and for the ring. The zero value
// is ready. The goroutines that deliver items use it.
type copies struct {
	mu   sync.Mutex     // guards what follows
	of   taskwatch.Item // that was copied last
	seq  uint64         // its number then: sources use an event again, with another one
	copy taskwatch.Item
}

// take returns a copy of an item, which never changes: the same one for all that take
// the item one after the other.
func (c *copies) take(it taskwatch.Item) taskwatch.Item {
	c.mu.Lock()
	defer c.mu.Unlock()
	same := it == c.of && it.Loss == nil && (it.Event == nil || it.Event.Seq != 0 && it.Event.Seq == c.seq)
	if !same {
		c.of, c.seq, c.copy = it, it.Seq(), it.Clone()
	}
	return c.copy
}

// forget lets go of the last copy.
func (c *copies) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of, c.copy = taskwatch.Item{}, taskwatch.Item{}
}
