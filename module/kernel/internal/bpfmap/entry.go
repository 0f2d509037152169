package bpfmap

import "github.com/taskwatch/taskwatch/module"

// entry is an entry of a map.
type entry struct {
	key    blob   // of task storage, a descriptor, for as long as the entry is looked at
	tid    int    // of task storage
	values []blob // one, or one for each processor
}

// shown returns an entry in its types.
func (m *Map) shown(e *entry) module.MapEntry {
	shown := module.MapEntry{Key: m.key(e.key)}
	if m.ofTasks() {
		shown.Key = int64(e.tid)
	}
	if m.perCPU() {
		shown.Value = m.values(e.values)
	} else {
		shown.Value = m.value(e.values[0])
	}
	return shown
}

// each calls fn with each entry, until it returns an error.
func (m *Map) each(fn func(*entry) error) error {
	if m.ofTasks() {
		return m.eachTask(fn)
	}
	var e entry
	it := m.Iterate()
	if m.perCPU() {
		for it.Next(&e.key, &e.values) {
			if err := fn(&e); err != nil {
				return err
			}
		}
		return it.Err()
	}
	e.values = make([]blob, 1)
	for it.Next(&e.key, &e.values[0]) {
		if err := fn(&e); err != nil {
			return err
		}
	}
	return it.Err()
}
