package kernel

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/module/kernel/internal/cvalue"
)

// kept is what a module takes over from the module that it replaces.
type kept struct {
	maps  map[string]*ebpf.Map // one for both
	fresh []string             // names of those that cannot be
}

// from finds what a module with this specification, whose parameters are set,
// can take over. The values of variables are put into the specification. Maps that
// get a content begin with that alone.
func (k *kept) from(old *Module, o *Object, spec *ebpf.CollectionSpec, contents map[string][]byte) error {
	old.mu.Lock()
	defer old.mu.Unlock()
	if old.closed {
		return ErrClosed
	}
	k.maps = map[string]*ebpf.Map{}
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		m := old.coll.Maps[name]
		switch {
		case m == nil || contents[name] != nil || strings.HasPrefix(name, ".rodata") || slices.Contains(o.Shared, name):
		case strings.HasPrefix(name, "."):
			if !samePlaces(old.object, o, name) {
				if err := old.copyVariables(name, spec); err != nil {
					return err
				}
				continue
			}
			if err := k.share(name, m); err != nil {
				return err
			}
		case spec.Maps[name].Compatible(m) != nil || !sameTypes(old.object.spec.Maps[name], spec.Maps[name]):
			k.fresh = append(k.fresh, name)
		default:
			if err := k.share(name, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *kept) share(name string, m *ebpf.Map) error {
	c, err := m.Clone()
	if err == nil {
		k.maps[name] = c
	}
	return err
}

// close closes the maps; the collection has its own references.
func (k *kept) close() {
	for _, m := range k.maps {
		m.Close()
	}
}

// samePlaces reports whether a section has the same variables at the same
// places in both objects.
func samePlaces(a, b *Object, section string) bool {
	return a.spec.Maps[section].ValueSize == b.spec.Maps[section].ValueSize && maps.Equal(placesIn(a, section), placesIn(b, section))
}

// sameTypes reports whether keys and values of two maps mean the same.
func sameTypes(a, b *ebpf.MapSpec) bool {
	return cvalue.Layout(a.Key) == cvalue.Layout(b.Key) && cvalue.Layout(a.Value) == cvalue.Layout(b.Value)
}

// place is the position and the type of a variable.
type place struct {
	offset uint32
	size   uint32
	layout string
}

func placesIn(o *Object, section string) map[string]place {
	list := map[string]place{}
	for name, v := range o.spec.Variables {
		if v.SectionName == section {
			p := place{offset: v.Offset, size: v.Size()}
			if v.Type != nil {
				p.layout = cvalue.Layout(v.Type.Type)
			}
			list[name] = p
		}
	}
	return list
}

// copyVariables gives the variables of a section the values that m's of the same
// name and type have. Callers hold m.mu.
func (m *Module) copyVariables(section string, spec *ebpf.CollectionSpec) error {
	have := make([]byte, m.coll.Maps[section].ValueSize())
	if err := m.coll.Maps[section].Lookup(uint32(0), have); err != nil {
		return err
	}
	to := spec.Maps[section]
	value := make([]byte, to.ValueSize)
	if len(to.Contents) == 1 {
		if b, ok := to.Contents[0].Value.([]byte); ok {
			copy(value, b)
		}
	}
	old := placesIn(m.object, section)
	for name, v := range spec.Variables {
		p, ok := old[name]
		if v.SectionName != section || !ok || v.Type == nil || p.layout != cvalue.Layout(v.Type.Type) || p.size != v.Size() {
			continue
		}
		if int(v.Offset+v.Size()) <= len(value) && int(p.offset+p.size) <= len(have) {
			v.Value = bytes.Clone(have[p.offset : p.offset+p.size])
			copy(value[v.Offset:], v.Value)
		}
	}
	to.Contents = []ebpf.MapKV{{Key: uint32(0), Value: value}}
	return nil
}
