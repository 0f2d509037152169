package kernel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Param is a module parameter: a const volatile global variable, which the
// user may set when the module is loaded and nobody can change afterwards.
type Param struct {
	Name        string
	Type        string // in C
	Default     any    // as in [Global]
	Description string
}

// Params lists the parameters by name.
func (o *Object) Params() []Param {
	var list []Param
	for name, v := range o.spec.Variables {
		if isParam(v) {
			list = append(list, Param{name, typeName(v.Type.Type), readValue(v.Type.Type, v.Value), o.parms[name]})
		}
	}
	slices.SortFunc(list, func(a, b Param) int { return cmp.Compare(a.Name, b.Name) })
	return list
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

// setParams writes the values into the variables of spec.
func (o *Object) setParams(spec *ebpf.CollectionSpec, values map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := spec.Variables[name]
		if v == nil || !isParam(v) {
			return fmt.Errorf("it has no parameter %q; %s", name, o.describeParams())
		}
		b, err := writeValue(v.Type.Type, int(v.Size()), values[name])
		if err != nil {
			return fmt.Errorf("parameter %s=%s: it is of type %s: %w; %s", name, values[name], typeName(v.Type.Type), err, o.describeParams())
		}
		if err := v.Set(b); err != nil {
			return fmt.Errorf("parameter %s=%s: %w", name, values[name], err)
		}
	}
	return nil
}

func (o *Object) describeParams() string {
	var list []string
	for _, p := range o.Params() {
		list = append(list, fmt.Sprintf("%s (%s, default %v)", p.Name, p.Type, p.Default))
	}
	if list == nil {
		return "it has no parameters at all"
	}
	return "its parameters are " + strings.Join(list, ", ")
}

// ParseParams reads key=value strings into the form that [LoadOptions] takes.
// A key given twice is an error.
func ParseParams(args []string) (map[string]string, error) {
	params := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || key == "" {
			return nil, &Error{Op: "parse", Err: fmt.Errorf("parameter %q is not key=value", arg)}
		}
		if _, dup := params[key]; dup {
			return nil, &Error{Op: "parse", Err: fmt.Errorf("parameter %q is given twice", key)}
		}
		params[key] = value
	}
	return params, nil
}
