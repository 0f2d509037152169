package kernel

import (
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/module/kernel/internal/cvalue"
)

// localTypeID is how a relocation begins that asks for the number of a type of the
// object: __builtin_btf_type_id(x, 0).
const localTypeID = "CORERelocation(local_type_id,"

// numberTypes gives the types of records numbers of the object's own. Those of BTF
// are others in each program.
func (o *Object) numberTypes() error {
	for _, name := range slices.Sorted(maps.Keys(o.code.Funcs)) {
		body := o.code.Funcs[name]
		for i := range body {
			relo := btf.CORERelocationMetadata(&body[i])
			if relo == nil || !strings.HasPrefix(relo.String(), localTypeID) {
				continue
			}
			var t btf.Type
			_, err := btf.CORERelocate([]*btf.CORERelocation{relo}, []*btf.Spec{o.spec.Types}, o.spec.ByteOrder, func(local btf.Type) (btf.TypeID, error) {
				t = btf.UnderlyingType(local)
				return 0, nil
			})
			if err != nil {
				return invalid("%s: the type of a record: %w", link.InWords(name), err)
			}
			switch t.(type) {
			case *btf.Struct, *btf.Union:
			default:
				return invalid("%s: task_watcher_emit_struct() takes a pointer to a struct, not to %s; use task_watcher_emit()", link.InWords(name), cvalue.TypeName(t))
			}
			n := slices.Index(o.emits, t)
			if n < 0 {
				n = len(o.emits)
				o.emits = append(o.emits, t)
			}
			body[i] = btf.WithCORERelocationMetadata(body[i], nil)
			body[i].Constant = int64(n + 1)
		}
	}
	return nil
}

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
