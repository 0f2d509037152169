package object

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// Params lists the parameters by name: const volatile global variables, which
// nobody can change once the module is loaded.
func (f *File) Params() []module.Param {
	var list []module.Param
	for name, v := range f.Spec.Variables {
		if isParam(v) {
			list = append(list, module.Param{
				Name: name, Type: cvalue.TypeName(v.Type.Type), Default: cvalue.Read(v.Type.Type, v.Value), Description: f.Info.Params[name],
			})
		}
	}
	slices.SortFunc(list, func(a, b module.Param) int { return cmp.Compare(a.Name, b.Name) })
	return module.FoldParams(list)
}

// isParam reports whether v is const volatile: a constant to the compiled
// code, whose value the compiler did not take for granted. An array has the
// qualifiers on its elements.
func isParam(v *ebpf.VariableSpec) bool {
	if !v.Constant() || v.Type == nil {
		return false
	}
	for t := v.Type.Type; ; {
		switch q := t.(type) {
		case *btf.Volatile:
			return true
		case *btf.Const:
			t = q.Type
		case *btf.Array:
			t = q.Type
		default:
			return false
		}
	}
}

// countOf returns the list that name is the count of, or nil.
func (f *File) countOf(name string) *ebpf.VariableSpec {
	list := f.Spec.Variables[strings.TrimSuffix(name, module.CountOf(""))]
	if list == nil || !strings.HasSuffix(name, module.CountOf("")) || !isParam(list) {
		return nil
	}
	if a, ok := btf.UnderlyingType(list.Type.Type).(*btf.Array); !ok || cvalue.IsString(a) {
		return nil
	}
	return list
}

// aboutMaps is the rest of an error about a parameter that may be meant for a map.
func (f *File) aboutMaps(name, value string) string {
	if _, err := f.Map(name); err == nil {
		return fmt.Sprintf("; %s is a map, and %s=@FILE gives it its first entries", name, name)
	}
	if strings.HasPrefix(value, "@") {
		return "; for NAME=@FILE, the module has " + f.describeMaps()
	}
	return ""
}

// SetParams writes the values into the variables of a copy of the specification.
func (f *File) SetParams(spec *ebpf.CollectionSpec, values map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := spec.Variables[name]
		if v == nil || !isParam(v) || f.countOf(name) != nil {
			return fmt.Errorf("it has no parameter %q; %s%s", name, module.DescribeParams(f.Params()), f.aboutMaps(name, values[name]))
		}
		b, n, err := cvalue.Write(v.Type.Type, int(v.Size()), values[name])
		if count := spec.Variables[module.CountOf(name)]; err == nil && n >= 0 && count != nil && isParam(count) {
			err = count.Set(uint32(n))
		}
		if err != nil {
			return fmt.Errorf("parameter %s=%s: it is of type %s: %w; %s", name, values[name], cvalue.TypeName(v.Type.Type), err, module.DescribeParams(f.Params()))
		}
		if err := v.Set(b); err != nil {
			return fmt.Errorf("parameter %s=%s: %w", name, values[name], err)
		}
	}
	return nil
}
