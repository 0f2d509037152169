package filter

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/taskwatch/taskwatch"
)

// groupClasses are the groups of the table of fields: exit, rusage, caps, ns.
var groupClasses []*class

// listNames are the fields of the table whose names in expressions are of something
// else: uid is a number, the real one of uids.
var listNames = map[taskwatch.Fields]string{taskwatch.FieldUID: "uids", taskwatch.FieldGID: "gids"}

// addTable adds fields of the table of fields to a class. No group may be in two calls.
// Naming an optional field makes the source collect it.
func addTable(c *class, fields taskwatch.Fields) {
	groups := map[string]*class{}
	for _, bit := range fields.List() {
		info := bit.Info()
		f := field{name: info.Name, typ: tableTypes[info.Type], bit: bit, doc: info.Doc, get: tableValue(bit)}
		if name, ok := listNames[bit]; ok {
			f.name = name
		}
		group, name, grouped := strings.Cut(info.Name, ".")
		if !grouped {
			c.add(f)
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
			c.add(field{name: group, typ: in.typ, doc: group, get: func(o *object) ref.Val { return &o.item.groups[n] }})
		}
		f.name = name
		in.add(f)
	}
}

// tableTypes are the types of fields in an expression. Unsigned numbers are
// plain ints: none exceeds 2^63 except sets of capabilities, which are compared
// as sets.
var tableTypes = map[taskwatch.ValueType]*cel.Type{
	taskwatch.TypeInt: cel.IntType, taskwatch.TypeUint: cel.IntType, taskwatch.TypeString: cel.StringType, taskwatch.TypeBool: cel.BoolType,
	taskwatch.TypeStrings: cel.ListType(cel.StringType), taskwatch.TypeUints: cel.ListType(cel.IntType),
}

var unknownEnv = types.NewUnknown(1, types.NewAttributeTrail("env"))

func tableValue(bit taskwatch.Fields) func(*object) ref.Val {
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
			switch {
			case bit == taskwatch.FieldArgv && o.item.task.ArgvCut:
				return cut(v.Strings(), unknownArgv)
			case bit == taskwatch.FieldEnv && o.item.ev.Extra.EnvCut:
				return cut(v.Strings(), unknownEnv)
			}
			return types.NewStringList(types.DefaultTypeAdapter, v.Strings())
		case taskwatch.TypeUints:
			return list(v.Uints(), func(n uint32) ref.Val { return types.Int(n) })
		}
		panic(fmt.Sprintf("filter: a value of type %v", v.Type()))
	}
}
