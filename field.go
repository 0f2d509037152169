package taskwatch

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Fields is a set of fields of an event, used to declare what is read, and
// what a source cannot give. The zero value is the empty set.
type Fields uint64

// AllFields holds every field.
const AllFields Fields = 1<<numFields - 1

// FieldsOf returns the fields that an event of kind k has when its source
// can give everything, but for the optional ones: see [OptionalOf]. Those of
// [Attach] and [Detach] describe the task.
func FieldsOf(k Kind) Fields {
	switch {
	case k < NumKinds:
		return fieldsOf[k]
	case k < NumLists:
		return FieldsTask
	}
	return 0
}

// OptionalOf returns the optional fields that an event of kind k can have.
func OptionalOf(k Kind) Fields {
	if k < NumKinds {
		return optionalOf[k]
	}
	return 0
}

// Has reports whether every field of f is in the set.
func (s Fields) Has(f Fields) bool { return s&f == f }

// List returns the members, each a set of one, in a fixed order.
func (s Fields) List() []Fields {
	var list []Fields
	for s &= AllFields; s != 0; s &= s - 1 {
		list = append(list, s&-s)
	}
	return list
}

// Names returns the names of the members, in a fixed order.
func (s Fields) Names() []string {
	var names []string
	for _, f := range s.List() {
		names = append(names, f.Info().Name)
	}
	return names
}

// String returns the names of the members, comma-separated.
func (s Fields) String() string { return strings.Join(s.Names(), ",") }

// ParseField returns the field with the given name.
func ParseField(name string) (Fields, error) {
	for i := range fieldTable {
		if f := &fieldTable[i]; f.Name == name {
			return f.Field, nil
		}
	}
	return 0, fmt.Errorf("taskwatch: unknown field %q", name)
}

// ParseFields reads a comma-separated list of fields. The name of a group,
// which is the part before the dot of names, stands for all of its fields, and
// "all" for every field.
func ParseFields(list string) (Fields, error) {
	var s Fields
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		var found Fields
		for i := range fieldTable {
			f := &fieldTable[i]
			group, _, _ := strings.Cut(f.Name, ".")
			if f.Name == name || group == name || name == "all" {
				found |= f.Field
			}
		}
		if found == 0 {
			return 0, fmt.Errorf("taskwatch: unknown field %q: fields are all, %s", name, strings.Join(AllFields.Groups(), ", "))
		}
		s |= found
	}
	return s, nil
}

// Groups returns the names of the members, those of a group as one: what
// [ParseFields] takes.
func (s Fields) Groups() (names []string) {
	for _, name := range s.Names() {
		if group, _, _ := strings.Cut(name, "."); !slices.Contains(names, group) {
			names = append(names, group)
		}
	}
	return names
}

// FieldInfo describes a field.
type FieldInfo struct {
	Field    Fields
	Name     string // in recordings, filters and columns: "exe", "exit.code"
	Type     ValueType
	Unit     string // "", "ns" or "bytes"
	Mask     bool   // a set of bits: in recordings 16 hexadecimal digits
	Kinds    Kinds  // of event that have it
	Optional bool   // gathered only for those who name it
	Doc      string // what it is, in half a sentence
	Cost     string // of an optional one
}

// Info describes a set of one field. Of any other set it is empty.
func (s Fields) Info() FieldInfo {
	if i := bits.TrailingZeros64(uint64(s)); i < numFields && s == 1<<i {
		return fieldTable[i]
	}
	return FieldInfo{}
}

// ValueType is what a [Value] is.
type ValueType uint8

// The types of values.
const (
	TypeInt     ValueType = iota + 1
	TypeUint              //
	TypeString            //
	TypeBool              //
	TypeStrings           // a list of strings
	TypeUints             // a list of numbers
)

var valueTypeNames = [...]string{"none", "int", "uint", "string", "bool", "list of strings", "list of uints"}

// String returns the type's name.
func (t ValueType) String() string {
	if int(t) < len(valueTypeNames) {
		return valueTypeNames[t]
	}
	return "type(" + strconv.Itoa(int(t)) + ")"
}

// Value is the value of a field. Only the method of its type says something.
// It is borrowed from the event, and costs no allocation.
type Value struct {
	typ   ValueType
	num   uint64
	text  string
	texts []string
	nums  []uint32
}

// Type returns what the value is.
func (v Value) Type() ValueType { return v.typ }

// Int returns the value of type int.
func (v Value) Int() int64 { return int64(v.num) }

// Uint returns the value of type uint.
func (v Value) Uint() uint64 { return v.num }

// Bool returns the value of type bool.
func (v Value) Bool() bool { return v.num != 0 }

// Text returns the value of type string.
func (v Value) Text() string { return v.text }

// Strings returns the value that is a list of strings.
func (v Value) Strings() []string { return v.texts }

// Uints returns the value that is a list of numbers. Of ids these are the
// real, effective, saved and file system id.
func (v Value) Uints() []uint32 { return v.nums }

// String returns the value as text, whatever it is.
func (v Value) String() string {
	switch v.typ {
	case TypeInt:
		return strconv.FormatInt(v.Int(), 10)
	case TypeUint:
		return strconv.FormatUint(v.num, 10)
	case TypeBool:
		return strconv.FormatBool(v.Bool())
	case TypeString:
		return v.text
	case TypeStrings:
		return strings.Join(v.texts, " ")
	case TypeUints:
		return strings.Trim(fmt.Sprint(v.nums), "[]")
	}
	return ""
}

func bit(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

// Fields returns the fields of the event that are there: those of its kind
// that are not missing, and the optional ones that were gathered.
func (ev *Event) Fields() Fields {
	has := FieldsOf(ev.Kind)
	if ev.Extra != nil {
		has |= ev.Extra.Given
	}
	return has &^ ev.Missing
}

// Give gives the event the optional fields of x, which are x.Given, as far as
// they are asked for. Those that are asked for and not given are missing. It is
// for sources: see [Feed.Optional].
func (ev *Event) Give(asked Fields, x *Extra) {
	x.Given &= asked
	if x.Given != 0 {
		ev.Extra = x
	}
	ev.Missing |= asked &^ x.Given
}

// Has reports whether all the given fields are there: see [Event.Fields].
func (ev *Event) Has(f Fields) bool { return ev.Fields().Has(f) }

// Value returns the value of one field, and whether it is there. Where it is
// not, it is missing if [Event.Missing] has it, and else the event has no such
// field or nobody asked for it.
func (ev *Event) Value(f Fields) (Value, bool) {
	if f == 0 || f&(f-1) != 0 || !ev.Has(f) || ev.Task == nil && f&(FieldsTask|OptionalFields) != 0 {
		return Value{}, false
	}
	return ev.value(f), true
}
