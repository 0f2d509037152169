package filter

import (
	"sync"

	"github.com/taskwatch/taskwatch"
)

// Marks keeps in mind of which items nobody can tell, while they are on their
// way through a queue. The zero value is ready. All methods may be called from
// any goroutine.
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

// Add marks an item, which comes behind those marked before.
func (m *Marks) Add(it taskwatch.Item) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, markOf(it))
}

// Take reports whether an item is marked, and forgets the marks of those before
// it: they were lost on the way.
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
