package build

import (
	"debug/dwarf"
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch/module/internal/custom"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// withTypes appends the types of the values that 'taskwatch map' reads, and of the structs
// that a module sends, to its file: nothing else of what the compiler knows of types is
// part of a module. linked is the same module with all of it.
func withTypes(file, linked []byte) ([]byte, error) {
	sections := custom.Sections(linked)
	data, err := dwarf.New(sections[".debug_abbrev"], nil, nil, sections[".debug_info"], sections[".debug_line"], nil, sections[".debug_ranges"], sections[".debug_str"])
	if err != nil {
		return nil, fmt.Errorf("what the compiler says of types: %w", err)
	}
	var lines strings.Builder
	for r := data.Reader(); ; {
		e, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("what the compiler says of types: %w", err)
		}
		if e == nil {
			break
		}
		name, _ := e.Val(dwarf.AttrName).(string)
		typ, hasType := e.Val(dwarf.AttrType).(dwarf.Offset)
		if e.Tag != dwarf.TagVariable || name == "" || !hasType {
			continue
		}
		of, err := data.Type(typ)
		if err != nil {
			continue // nobody knows all of what a type may be
		}
		if p, ok := of.(*dwarf.PtrType); ok && strings.HasPrefix(name, cvalue.EmittedPrefix) {
			of = p.Type // it points to nothing, and is there for its type
		} else if of = storedIn(of); of == nil {
			continue
		}
		text := describe(of, 0)
		if _, err := cvalue.ParseType(text, int(of.Size())); err != nil {
			continue // it is too large to be described
		}
		if line := name + " " + text + "\n"; !strings.Contains("\n"+lines.String(), "\n"+line) { // functions may be there twice
			lines.WriteString(line)
		}
	}
	if lines.Len() == 0 {
		return file, nil
	}
	return custom.Append(file, cvalue.TypesSection, lines.String()), nil
}

// storedIn returns the type of what task_storage() or process_storage() keeps, if a
// variable of type t is one, or nil: see the headers.
func storedIn(t dwarf.Type) dwarf.Type {
	s, ok := t.(*dwarf.StructType)
	if !ok || s.StructName != "" || len(s.Field) == 0 {
		return nil
	}
	values := s.Field[len(s.Field)-1]
	list, ok := values.Type.(*dwarf.ArrayType)
	if !ok || values.Name != "values" {
		return nil
	}
	return list.Type
}

// describe writes a type as a module describes it to its host: see [cvalue.ParseType].
func describe(t dwarf.Type, depth int) string {
	switch t := t.(type) {
	case *dwarf.TypedefType:
		return describe(t.Type, depth)
	case *dwarf.QualType:
		return describe(t.Type, depth)
	case *dwarf.BoolType:
		return "bool"
	case *dwarf.CharType:
		if t.Name == "char" {
			return "char"
		}
		return "s8"
	case *dwarf.IntType:
		if t.ByteSize <= 8 {
			return fmt.Sprintf("s%d", 8*t.ByteSize)
		}
	case *dwarf.UcharType:
		return "u8"
	case *dwarf.UintType:
		if t.ByteSize <= 8 {
			return fmt.Sprintf("u%d", 8*t.ByteSize)
		}
	case *dwarf.FloatType:
		if t.ByteSize <= 8 {
			return fmt.Sprintf("f%d", 8*t.ByteSize)
		}
	case *dwarf.EnumType:
		return describeEnum(t)
	case *dwarf.ArrayType:
		if t.Count > 0 {
			return fmt.Sprintf("[%d]%s", t.Count, describe(t.Type, depth+1))
		}
	case *dwarf.StructType:
		if depth < 16 && !t.Incomplete {
			return describeStruct(t, depth)
		}
	}
	name := "pointer"
	if _, ok := t.(*dwarf.PtrType); !ok {
		name = strings.ReplaceAll(t.Common().Name, " ", "_")
	}
	return fmt.Sprintf("?%s %d;", name, max(t.Size(), 0))
}

func describeEnum(t *dwarf.EnumType) string {
	negative := false
	for _, v := range t.Val {
		negative = negative || v.Val < 0
	}
	sign := "u"
	if negative {
		sign = "s"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "(%s%d", sign, 8*t.ByteSize)
	for _, v := range t.Val {
		fmt.Fprintf(&b, " %s=%d", v.Name, v.Val)
	}
	return b.String() + ")"
}

func describeStruct(t *dwarf.StructType, depth int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{%s %d;", t.StructName, t.ByteSize)
	for _, f := range t.Field {
		if f.BitSize == 0 {
			fmt.Fprintf(&b, "%s@%d %s;", f.Name, 8*f.ByteOffset, describe(f.Type, depth+1))
			continue
		}
		// A bit-field may be counted from the highest bit of what it lies in.
		at := 8*f.ByteOffset + f.DataBitOffset
		if f.ByteSize > 0 {
			at = 8*(f.ByteOffset+f.ByteSize) - f.BitOffset - f.BitSize
		}
		fmt.Fprintf(&b, "%s@%d:%d %s;", f.Name, at, f.BitSize, describe(f.Type, depth+1))
	}
	return b.String() + "}"
}
