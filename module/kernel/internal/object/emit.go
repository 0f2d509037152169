package object

import (
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// localTypeID is how a relocation begins that asks for the number of a type of the
// object: __builtin_btf_type_id(x, 0).
const localTypeID = "CORERelocation(local_type_id,"

// numberTypes gives the types of records numbers of the object's own. Those of BTF
// are others in each program.
func (f *File) numberTypes() error {
	for _, name := range slices.Sorted(maps.Keys(f.Code.Funcs)) {
		body := f.Code.Funcs[name]
		for i := range body {
			relo := btf.CORERelocationMetadata(&body[i])
			if relo == nil || !strings.HasPrefix(relo.String(), localTypeID) {
				continue
			}
			var t btf.Type
			_, err := btf.CORERelocate([]*btf.CORERelocation{relo}, []*btf.Spec{f.Spec.Types}, f.Spec.ByteOrder, func(local btf.Type) (btf.TypeID, error) {
				t = btf.UnderlyingType(local)
				return 0, nil
			})
			if err != nil {
				return Invalid("%s: the type of a record: %w", link.InWords(name), err)
			}
			switch t.(type) {
			case *btf.Struct, *btf.Union:
			default:
				return Invalid("%s: task_watcher_emit_struct() takes a pointer to a struct, not to %s; use task_watcher_emit()", link.InWords(name), cvalue.TypeName(t))
			}
			n := slices.Index(f.Emits, t)
			if n < 0 {
				n = len(f.Emits)
				f.Emits = append(f.Emits, t)
			}
			body[i] = btf.WithCORERelocationMetadata(body[i], nil)
			body[i].Constant = int64(n + 1)
		}
	}
	return nil
}
