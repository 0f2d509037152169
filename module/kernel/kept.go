package kernel

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
	"github.com/taskwatch/taskwatch/module/kernel/internal/bpfmap"
)

// kept is what a module takes over from the module that it replaces.
type kept struct {
	maps   map[string]*ebpf.Map // one for both
	copies []mapCopy            // of those that cannot be
	left   module.Left
}

// mapCopy is a map that takes the entries of the one of the same name, of a module that
// is replaced.
type mapCopy struct {
	name    string
	convert cvalue.Convert // values
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
	var moved []string // sections whose variables have to be copied
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		m, was := old.coll.Maps[name], old.object.file.Spec.Maps[name]
		switch {
		case strings.HasPrefix(name, ".rodata") || contents[name] != nil || slices.Contains(o.Shared, name):
		case strings.HasPrefix(name, "."):
			if m == nil || !samePlaces(old.object, o, name) {
				moved = append(moved, name)
				continue
			}
			if err := k.share(name, m); err != nil {
				return err
			}
		case m == nil:
		case spec.Maps[name].Compatible(m) == nil && bpfmap.SameTypes(was, spec.Maps[name]):
			if err := k.share(name, m); err != nil {
				return err
			}
		default:
			if convert := bpfmap.Converter(spec.Maps[name], was); convert != nil {
				k.copies = append(k.copies, mapCopy{name, convert})
			} else {
				k.left.FreshMaps = append(k.left.FreshMaps, name)
			}
		}
	}
	return k.copyVariables(old, o, spec, moved)
}

func (k *kept) share(name string, m *ebpf.Map) error {
	c, err := m.Clone()
	if err == nil {
		k.maps[name] = c
	}
	return err
}

// copyMaps copies the entries that the module before has now to the maps of a
// collection that cannot be the same. What that one does to them afterwards is lost.
func (k *kept) copyMaps(old *Module, o *Object, coll *ebpf.Collection) error {
	for _, c := range k.copies {
		to := &bpfmap.Map{Map: coll.Maps[c.name], Spec: o.file.Spec.Maps[c.name]}
		copied := module.Copied{Name: c.name}
		err := old.withMap(c.name, func(from *bpfmap.Map) (err error) {
			copied.LeftOut, err = to.Copy(from, c.convert)
			return err
		})
		if err != nil {
			return fmt.Errorf("copy the map %s: %w", c.name, err)
		}
		k.left.Copied = append(k.left.Copied, copied)
	}
	return nil
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
	return a.file.Spec.Maps[section].ValueSize == b.file.Spec.Maps[section].ValueSize && maps.Equal(placesIn(a, section), placesIn(b, section))
}

// place is the position and the type of a variable.
type place struct {
	offset uint32
	size   uint32
	layout string
}

func placesIn(o *Object, section string) map[string]place {
	list := map[string]place{}
	for name, v := range o.file.Spec.Variables {
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

// copyVariables gives the variables of some sections the values that those of the same
// name have, where they can have them. Callers hold old.mu.
func (k *kept) copyVariables(old *Module, o *Object, spec *ebpf.CollectionSpec, sections []string) error {
	for _, section := range sections {
		to := spec.Maps[section]
		value := make([]byte, to.ValueSize)
		if len(to.Contents) == 1 {
			if b, ok := to.Contents[0].Value.([]byte); ok {
				copy(value, b)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(spec.Variables)) {
			v, was := spec.Variables[name], old.object.file.Spec.Variables[name]
			if v.SectionName != section || was == nil || strings.HasPrefix(was.SectionName, ".rodata") || int(v.Offset+v.Size()) > len(value) {
				continue
			}
			have, err := old.variable(was)
			if err != nil {
				return err
			}
			var convert cvalue.Convert
			if v.Type != nil && was.Type != nil {
				convert = cvalue.Kernel.Converter(v.Type.Type, was.Type.Type)
			}
			if convert == nil {
				k.left.FreshVariables = append(k.left.FreshVariables, name)
				continue
			}
			v.Value = value[v.Offset : v.Offset+v.Size()]
			convert(v.Value, have)
			k.left.Copied = append(k.left.Copied, module.Copied{Name: name})
		}
		to.Contents = []ebpf.MapKV{{Key: uint32(0), Value: value}}
	}
	return nil
}

// variable reads the bytes of a variable. Callers hold m.mu.
func (m *Module) variable(v *ebpf.VariableSpec) ([]byte, error) {
	section := m.coll.Maps[v.SectionName]
	b := make([]byte, section.ValueSize())
	if err := section.Lookup(uint32(0), b); err != nil {
		return nil, fmt.Errorf("read the variable %s of the module before: %w", v.Name, err)
	}
	if int(v.Offset+v.Size()) > len(b) {
		return nil, fmt.Errorf("the variable %s of the module before is not in %s", v.Name, v.SectionName)
	}
	return b[v.Offset : v.Offset+v.Size()], nil
}
