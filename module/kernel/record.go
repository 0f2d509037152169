package kernel

import (
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// sender is a module whose records may come.
type sender struct {
	name  string
	types []btf.Type // nil for one that has long gone
	log   *logger    // or nil
}

// maxDeparted is how many modules that have gone are kept with their types, for
// records that are still on their way.
const maxDeparted = 16

// Record names the module with the id that an emit function got, and returns its
// record, in JSON if it was sent with a type. Ids are never reused, so a record
// that arrives after the module has gone is still told right. The record is data
// or new.
func (t *Table) Record(id, typ uint32, data []byte) (name string, record []byte, ok bool) {
	t.mu.Lock()
	s, ok := t.senders[id]
	t.mu.Unlock()
	if typ == 0 || int64(typ) > int64(len(s.types)) {
		return s.name, data, ok
	}
	if text, fits := cvalue.AppendJSON(nil, s.types[typ-1], data); fits {
		data = text
	}
	return s.name, data, ok
}

// depart drops the types of the module that went long before this one. Callers
// hold mu.
func (t *Table) depart(id uint32) {
	t.departed = append(t.departed, id)
	if len(t.departed) > maxDeparted {
		old := t.departed[0]
		t.senders[old] = sender{name: t.senders[old].name}
		t.departed = slices.Delete(t.departed, 0, 1)
	}
}
