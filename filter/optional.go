package filter

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/taskwatch/taskwatch"
)

// groupClasses are the groups of optional fields: caps, ns.
var groupClasses []*class

// addOptional adds the optional fields of the table of fields to a class. Naming
// one makes the source collect it.
func addOptional(c *class) {
	add := func(c *class, f field) {
		made := newClass(c.name, f)
		c.names = append(c.names, f.name)
		c.fields[f.name] = made.fields[f.name]
	}
	groups := map[string]*class{}
	for _, bit := range taskwatch.OptionalFields.List() {
		info := bit.Info()
		f := field{name: info.Name, typ: optionalTypes[info.Type], bit: bit, doc: info.Doc, get: optional(bit)}
		group, name, grouped := strings.Cut(info.Name, ".")
		if !grouped {
			add(c, f)
			continue
		}
		in := groups[group]
		if in == nil {
			in = newClass("taskwatch." + strings.ToUpper(group[:1]) + group[1:])
			groups[group] = in
			n := len(groupClasses)
			groupClasses = append(groupClasses, in)
			parts = append(parts, in)
			classes[in.name] = in
			add(c, field{name: group, typ: in.typ, doc: group, get: func(o *object) ref.Val { return &o.item.groups[n] }})
		}
		f.name = name
		add(in, f)
	}
}

// optionalTypes are the types of fields in an expression. Unsigned numbers are
// plain ints: none exceeds 2^63 except sets of capabilities, which are compared
// as sets.
var optionalTypes = map[taskwatch.ValueType]*cel.Type{
	taskwatch.TypeInt: cel.IntType, taskwatch.TypeUint: cel.IntType, taskwatch.TypeString: cel.StringType, taskwatch.TypeBool: cel.BoolType,
	taskwatch.TypeStrings: cel.ListType(cel.StringType), taskwatch.TypeUints: cel.ListType(cel.IntType),
}

var unknownEnv = types.NewUnknown(1, types.NewAttributeTrail("env"))

func optional(bit taskwatch.Fields) func(*object) ref.Val {
	return func(o *object) ref.Val {
		v, ok := o.item.ev.Value(bit)
		if !ok {
			return types.NewErr("%s is not there", bit.Info().Name) // value has seen to it
		}
		switch v.Type() {
		case taskwatch.TypeInt:
			return types.Int(v.Int())
		case taskwatch.TypeUint:
			return types.Int(int64(v.Uint()))
		case taskwatch.TypeString:
			return types.String(v.Text())
		case taskwatch.TypeBool:
			return types.Bool(v.Bool())
		case taskwatch.TypeStrings:
			if bit == taskwatch.FieldEnv && o.item.ev.Extra.EnvCut {
				return cut(v.Strings(), unknownEnv)
			}
			return types.NewStringList(types.DefaultTypeAdapter, v.Strings())
		case taskwatch.TypeUints:
			return list(v.Uints(), func(n uint32) ref.Val { return types.Int(n) })
		}
		panic(fmt.Sprintf("filter: a value of type %v", v.Type()))
	}
}
