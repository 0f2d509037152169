package filter

import (
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// class is a type of object in an expression.
type class struct {
	name   string
	typ    *cel.Type
	names  []string // of fields, in order
	fields map[string]*field
}

// field is a field of a class.
type field struct {
	name    string
	typ     *cel.Type
	doc     string
	bit     taskwatch.Fields // what a source may be unable to give; 0 where it always can
	tree    bool             // it is told by the tree of processes
	unknown *types.Unknown
	none    *types.Err // for events of other kinds
	get     func(o *object) ref.Val
}

// object is a value of a class: an item, or a part of it.
type object struct {
	class *class
	item  *item
	proc  *process.Process
}

func newClass(name string, fields ...field) *class {
	c := &class{name: name, typ: cel.ObjectType(name), fields: map[string]*field{}}
	c.add(fields...)
	return c
}

func (c *class) add(fields ...field) {
	for i := range fields {
		f := &fields[i]
		c.names = append(c.names, f.name)
		c.fields[f.name] = f
		f.unknown = types.NewUnknown(int64(len(c.names)), types.NewAttributeTrail(f.name))
		f.none = types.NewErr("%s: events of this kind do not have it", f.name).(*types.Err)
	}
}

// value returns the value of a field, or that it is unknown, or an error.
func (f *field) value(o *object) ref.Val {
	it := o.item
	switch {
	case o.proc != nil:
	case f.bit != 0 && it.has&f.bit == 0:
		if it.all&f.bit == 0 {
			return f.none
		}
		return f.unknown
	case it.probing && f.name != "kind" && !isPart(f.typ):
		return f.unknown
	}
	return f.get(o)
}

// is reports whether objects of this kind have the field, or something of it.
func (f *field) is(o *object) bool {
	if isPart(f.typ) {
		for _, part := range classes[f.typ.TypeName()].fields {
			if part.is(o) {
				return true
			}
		}
		return false
	}
	return o.proc != nil || f.bit == 0 || o.item.all&f.bit == f.bit
}

func isPart(t *cel.Type) bool {
	for _, c := range parts {
		if t == c.typ {
			return true
		}
	}
	return false
}

// An object is a CEL value.

func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("filter: %s cannot become a %v", o.class.name, t)
}

func (o *object) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("type conversion error from '%s' to '%s'", o.class.name, t)
}

func (o *object) Equal(other ref.Val) ref.Val {
	p, ok := other.(*object)
	return types.Bool(ok && *o == *p)
}

func (o *object) Type() ref.Type { return o.class.typ }

func (o *object) Value() any { return o }

// provider knows the classes besides CEL's own types.
type provider struct{ types.Provider }

func (p provider) FindStructType(name string) (*types.Type, bool) {
	if c := classes[name]; c != nil {
		return types.NewTypeTypeWithParam(c.typ), true
	}
	return p.Provider.FindStructType(name)
}

func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	if c := classes[name]; c != nil {
		return c.names, true
	}
	return p.Provider.FindStructFieldNames(name)
}

func (p provider) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	c := classes[name]
	if c == nil {
		return p.Provider.FindStructFieldType(name, fieldName)
	}
	f := c.fields[fieldName]
	if f == nil {
		return nil, false
	}
	return &types.FieldType{
		Type: f.typ,
		IsSet: func(v any) bool {
			o, ok := v.(*object)
			return ok && f.is(o)
		},
		GetFrom: func(v any) (any, error) {
			if u, ok := v.(*types.Unknown); ok { // an element of a list that is not known
				return u, nil
			}
			o, ok := v.(*object)
			if !ok {
				return nil, fmt.Errorf("filter: %s of a %T", f.name, v)
			}
			val := f.value(o)
			if err, ok := val.(*types.Err); ok {
				return nil, err
			}
			return val, nil
		},
	}, true
}
