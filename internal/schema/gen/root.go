package main

import "github.com/taskwatch/taskwatch/internal/schema"

// goTypes are the types of optional fields.
var goTypes = map[schema.Type]string{
	schema.Int: "int", schema.Int64: "int64", schema.Uint32: "uint32", schema.Uint64: "uint64", schema.Mask: "uint64",
	schema.String: "string", schema.Bool: "bool", schema.Strings: "[]string", schema.Uint32s: "[]uint32",
}

// valueTypes say as what a filter sees a type, and how it comes to be it.
var valueTypes = map[schema.Type][2]string{
	schema.Int:     {"TypeInt", "num: uint64(%s)"},
	schema.Int64:   {"TypeInt", "num: uint64(%s)"},
	schema.Uint32:  {"TypeUint", "num: uint64(%s)"},
	schema.Uint64:  {"TypeUint", "num: %s"},
	schema.Mask:    {"TypeUint", "num: %s"},
	schema.String:  {"TypeString", "text: %s"},
	schema.Bool:    {"TypeBool", "num: bit(%s)"},
	schema.Strings: {"TypeStrings", "texts: %s"},
	schema.Uint32s: {"TypeUints", "nums: %s"},
	schema.IDs:     {"TypeUints", "nums: %s[:]"},
	schema.TaskID:  {"TypeString", "text: %s.String()"},
	schema.Cause:   {"TypeString", "text: %s.String()"},
}

// root is the table for package taskwatch.
func root() []byte {
	p := file("taskwatch")
	p.f("// The fields of events. Their names are those of the JSON recording.\nconst (\n")
	for i, f := range schema.Table {
		typ := ""
		if i == 0 {
			typ = " Fields = 1 << iota"
		}
		p.f("Field%s%s // %s: %s\n", f.Const, typ, f.Name, f.Doc+f.Detail)
	}
	p.f("\nnumFields = iota\n)\n\n")
	p.f("// DefaultFields are gathered for everybody who does not say what is read,\n// and OptionalFields only for those who name them: see [Extra].\nconst (\n")
	p.f("DefaultFields Fields = AllFields &^ OptionalFields\nOptionalFields Fields = %s\n)\n\n", consts("", optional))
	p.f("// FieldsExit and FieldsRusage are the fields of an exit event's two groups.\nconst (\n")
	p.f("FieldsExit = %s\nFieldsRusage = %s\n)\n\n", consts("", group("exit")), consts("", group("rusage")))
	p.f("// FieldsTask are the fields that describe the task of an event. An init event\n// has none of PID, TID and Start: the task has none yet.\nconst FieldsTask = %s\n\n", consts("", ofTask))

	for _, list := range []struct {
		name, doc string
		optional  bool
	}{
		{"fieldsOf", "are the fields of each kind that are no optional ones", false},
		{"optionalOf", "are the optional ones", true},
	} {
		p.f("// %s %s.\nvar %[1]s = [NumKinds]Fields{\n", list.name, list.doc)
		for i, kind := range kindNames {
			p.f("%s: %s,\n", kindConsts[i], consts("", func(f schema.Field) bool { return f.Optional == list.optional && has(f, kind) }))
		}
		p.f("}\n\n")
	}

	p.f("var fieldTable = [numFields]FieldInfo{\n")
	for _, f := range schema.Table {
		p.f("{Field: Field%s, Name: %q, Type: %s, Unit: %q, Kinds: ", f.Const, f.Name, valueTypes[f.Type][0], f.Unit)
		sep := ""
		for i, kind := range kindNames {
			if has(f, kind) {
				p.f("%s1<<%s", sep, kindConsts[i])
				sep = "|"
			}
		}
		if f.Type == schema.Mask {
			p.f(", Mask: true")
		}
		p.f(", Optional: %t, Doc: %q, Cost: %q},\n", f.Optional, f.Doc, f.Cost)
	}
	p.f("}\n\n")

	p.f("// Extra holds the optional fields of one event. Its slices are never changed in\n// place.\ntype Extra struct {\nGiven Fields // those that are there\n\n")
	for _, f := range schema.Table {
		if f.Optional {
			p.f("%s %s // %s\n", f.Go, goTypes[f.Type], f.Doc)
			if f.Type == schema.Strings {
				p.f("%sCut bool // it is not complete\n", f.Go)
			}
		}
	}
	p.f("}\n\n")

	p.f("// value returns the value of a field that is there.\nfunc (ev *Event) value(f Fields) Value {\nswitch f {\n")
	for _, f := range schema.Table {
		path := "ev." + f.Go
		if f.Optional {
			path = "ev.Extra." + f.Go
		}
		t := valueTypes[f.Type]
		p.f("case Field%s:\nreturn Value{typ: %s, "+t[1]+"}\n", f.Const, t[0], path)
	}
	p.f("}\nreturn Value{}\n}\n")
	return p.Bytes()
}
