package kernel

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/internal/link"
)

// marks are what a module with attach or detach has been told of each task.
type marks struct{ link.Marks }

func newMarks() (_ *marks, err error) {
	m := &marks{}
	if m.Tasks, err = ebpf.NewMap(link.TaskStorage("tw_marks")); err == nil {
		m.Counts, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_mark_counts", Type: ebpf.Array, KeySize: 4, ValueSize: 8 * link.NumCounts, MaxEntries: 1})
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("create the map of its marks: %w", err)
	}
	return m, nil
}

// share has the marks of another module be those of this one.
func (m *marks) share(other *marks) error {
	tasks, err := other.Tasks.Clone()
	if err != nil {
		return fmt.Errorf("take over the marks of tasks: %w", err)
	}
	counts, err := other.Counts.Clone()
	if err != nil {
		tasks.Close()
		return fmt.Errorf("take over the marks of tasks: %w", err)
	}
	m.close()
	m.Tasks, m.Counts = tasks, counts
	return nil
}

// read returns the counters.
func (m *marks) read() (counts [link.NumCounts]int64, err error) {
	return counts, m.Counts.Lookup(uint32(0), &counts)
}

func (m *marks) close() {
	m.Tasks.Close() // both may be nil inside
	m.Counts.Close()
}
