package filter

import (
	"sync"

	"github.com/taskwatch/taskwatch"
)

// Marks remembers the items with an unknown answer while they pass through a
// queue. The zero value is ready for use. All methods may be called from any
// goroutine.
type Marks struct {
	mu   sync.Mutex
	list []mark
}

type mark struct {
	seq  uint64
	what int
}

func markOf(it taskwatch.Item) mark {
	m := mark{seq: it.Seq()}
	switch {
	case it.Failure != nil:
		m.what = 1
	case it.Record != nil:
		m.what = 2
	case it.Failed != nil:
		m.what = 3
	}
	return m
}

// Add marks an item. Items are marked in their order.
func (m *Marks) Add(it taskwatch.Item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, markOf(it))
}

// Take reports whether an item is marked, and removes the marks of earlier items,
// which were lost on the way.
func (m *Marks) Take(it taskwatch.Item) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	want := markOf(it)
	for i, have := range m.list {
		if have == want {
			m.list = m.list[i+1:]
			return true
		}
		if have.seq > want.seq {
			return false
		}
	}
	return false
}
