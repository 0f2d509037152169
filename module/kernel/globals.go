package kernel

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel/internal/cvalue"
)

// globals reads all global variables, sorted by name. read returns the bytes of a
// section, or nil if there is none.
func (o *Object) globals(read func(section string) ([]byte, error)) ([]module.Global, error) {
	size := map[string]uint64{} // of the sections, which are read as a whole
	var all uint64
	for _, v := range o.spec.Variables {
		size[v.SectionName] = max(size[v.SectionName], uint64(v.Offset)+uint64(v.Size()))
	}
	for _, n := range size {
		all += n
	}
	if all > module.MaxGlobals {
		return nil, &Error{Op: "read", Module: o.Name,
			Err:  fmt.Errorf("its variables are %w: they have %d bytes, and may have %d", module.ErrTooLarge, all, module.MaxGlobals),
			Hint: "put what is large into a map",
		}
	}
	var list []module.Global
	sections := map[string][]byte{}
	for name, v := range o.spec.Variables {
		if v.Type == nil {
			continue
		}
		b, there := sections[v.SectionName]
		if !there {
			var err error
			if b, err = read(v.SectionName); err != nil {
				return nil, &Error{Op: "read", Module: o.Name, Err: fmt.Errorf("section %s: %w", v.SectionName, err)}
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
