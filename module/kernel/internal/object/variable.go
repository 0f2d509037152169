package object

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// Globals reads all global variables, sorted by name. read returns the bytes of a
// section, or nil if there is none.
func (f *File) Globals(read func(section string) ([]byte, error)) ([]module.Global, error) {
	size := map[string]uint64{} // of the sections, which are read as a whole
	var all uint64
	for _, v := range f.Spec.Variables {
		size[v.SectionName] = max(size[v.SectionName], uint64(v.Offset)+uint64(v.Size()))
	}
	for _, n := range size {
		all += n
	}
	if all > module.MaxGlobals {
		return nil, fmt.Errorf("its variables are %w: they have %d bytes, and may have %d; put what is large into a map", module.ErrTooLarge, all, module.MaxGlobals)
	}
	var list []module.Global
	sections := map[string][]byte{}
	for name, v := range f.Spec.Variables {
		if v.Type == nil {
			continue
		}
		b, there := sections[v.SectionName]
		if !there {
			var err error
			if b, err = read(v.SectionName); err != nil {
				return nil, fmt.Errorf("section %s: %w", v.SectionName, err)
			}
			sections[v.SectionName] = b
		}
		if end := uint64(v.Offset) + uint64(v.Size()); end <= uint64(len(b)) {
			list = append(list, module.Global{
				Name: name, Type: cvalue.TypeName(v.Type.Type), Param: isParam(v), Value: cvalue.Read(v.Type.Type, b[v.Offset:end]),
			})
		}
	}
	slices.SortFunc(list, func(a, b module.Global) int { return cmp.Compare(a.Name, b.Name) })
	return module.FoldGlobals(list), nil
}

// InitVariables moves the values of global variables into the contents of the
// maps that hold them. The library would do it too, and map the variables into
// memory until the next garbage collection, which keeps them alive in the
// kernel after they were closed.
func InitVariables(spec *ebpf.CollectionSpec) {
	for _, v := range spec.Variables {
		m := spec.Maps[v.SectionName]
		if m == nil || len(m.Contents) != 1 {
			continue // .bss has no contents but zeros
		}
		if b, ok := m.Contents[0].Value.([]byte); ok && int(v.Offset)+len(v.Value) <= len(b) {
			b = slices.Clone(b) // the object has it too
			copy(b[v.Offset:], v.Value)
			m.Contents[0].Value = b
		}
	}
	spec.Variables = nil
}
