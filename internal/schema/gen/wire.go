package main

import (
	"bytes"
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/internal/schema"
)

// entry is an entry of the record with its place.
type entry struct {
	schema.Entry
	off   int
	field *schema.Field // of an optional field, else nil
}

// plan is the record: its entries, and its sizes, the newest first.
type plan struct {
	entries []entry
	sizes   []int
	flags   []struct{ Name, Go string }
	texts   []text
}

// text is a string, or a list of strings, that a module asks for.
type text struct {
	name  string
	field *schema.Field // of an optional field, else nil
}

var sizes = map[string]int{"u32": 4, "s32": 4, "u64": 8, "s64": 8, "char": 1}

func (e entry) size() int { return sizes[e.Type] * max(e.Count, 1) }

// recordTypes are the types of optional fields in the record. Of a list it has
// the number of elements.
var recordTypes = map[schema.Type]string{
	schema.Int: "s32", schema.Int64: "s64", schema.Uint32: "u32", schema.Uint64: "u64", schema.Mask: "u64",
	schema.Strings: "u32", schema.Uint32s: "u32",
}

// layout places everything. A generation of the record ends at a multiple of
// eight and never changes again.
func layout() *plan {
	pl := &plan{flags: slices.Clone(schema.Flags)}
	off := 0
	add := func(e entry) {
		if off%sizes[e.Type] != 0 {
			pad := sizes[e.Type] - off%sizes[e.Type]
			if pad != 4 {
				log.Fatalf("%s at %d is not aligned", e.Name, off)
			}
			pl.entries = append(pl.entries, entry{Entry: schema.Entry{Name: fmt.Sprintf("reserved%d", off), Type: "u32"}, off: off})
			off += pad
		}
		e.off = off
		pl.entries = append(pl.entries, e)
		off += e.size()
	}
	end := func() {
		if off%8 == 4 {
			add(entry{Entry: schema.Entry{Name: fmt.Sprintf("reserved%d", off), Type: "u32"}})
		}
		if off%8 != 0 {
			log.Fatalf("%d bytes need padding", off)
		}
		pl.sizes = append([]int{off}, pl.sizes...)
	}
	for _, e := range schema.First {
		add(entry{Entry: e})
	}
	for _, name := range schema.Texts {
		pl.texts = append(pl.texts, text{name: name})
	}
	end()
	add(entry{Entry: schema.Entry{Name: "given", Type: "u64", Go: "", Doc: "TASK_FIELD_*: the optional fields that are there"}})
	last := 1
	for i := range schema.Table {
		f := &schema.Table[i]
		if !f.Optional {
			continue
		}
		if f.Record != last {
			if f.Record != last+1 {
				log.Fatalf("field %s is of generation %d, behind %d", f.Name, f.Record, last)
			}
			if last > 1 {
				end()
			}
			last = f.Record
		}
		name := strings.ReplaceAll(f.Name, ".", "_")
		e := entry{Entry: schema.Entry{Name: name, Type: recordTypes[f.Type], Doc: f.Doc}, field: f}
		switch f.Type {
		case schema.Strings, schema.Uint32s:
			e.Name, e.Doc = name+"_count", "elements of "+name
			pl.texts = append(pl.texts, text{name, f})
			if f.Type == schema.Strings {
				pl.flags = append(pl.flags, struct{ Name, Go string }{name + "_cut", "x." + f.Go + "Cut"})
			}
		case schema.String:
			pl.texts = append(pl.texts, text{name, f})
			continue
		case schema.Bool:
			pl.flags = append(pl.flags, struct{ Name, Go string }{name, "x." + f.Go})
			continue
		}
		add(e)
	}
	if last > 1 {
		end()
	}
	return pl
}

func ctype(e entry) string {
	if e.Count > 0 {
		return fmt.Sprintf("%s[%d]", e.Type, e.Count)
	}
	return e.Type
}

func wire(pl *plan) []byte {
	p := file("wire", "strconv", module)
	p.f("// Size is the size of a record in bytes, and Sizes are all that it ever had, the\n// newest first: each is the beginning of the one before.\nconst Size = %d\n\n", pl.sizes[0])
	p.f("var Sizes = []int{")
	for i, n := range pl.sizes {
		if i > 0 {
			p.f(", ")
		}
		p.f("%d", n)
	}
	p.f("}\n\n// Base is the size of the part that every record has.\nconst Base = %d\n\n", pl.sizes[len(pl.sizes)-1])
	p.f("// Where the fields of a record are.\nconst (\n")
	for _, e := range pl.entries {
		p.f("off%s = %d // %s\n", camel(e.Name), e.off, ctype(e))
	}
	p.f(")\n\n// The bits of a record's flags.\nconst (\n")
	for i, f := range pl.flags {
		p.f("flag%s = 1 << %d\n", camel(f.Name), i)
	}
	p.f(")\n\n// The strings of an event that a module may ask for.\nconst (\n")
	for i, t := range pl.texts {
		p.f("String%s = %d\n", camel(t.name), i)
	}
	p.f("String%s = %d // of no event: see Strings\n)\n\n", camel(schema.ParentExe), schema.ParentExeText)

	p.f("// put writes the facts of an event that need no thought.\nfunc put(b *[Size]byte, ev *taskwatch.Event) {\nt := ev.Task\n")
	for _, e := range pl.entries {
		if e.Go != "" {
			p.put(e, e.Go)
		}
	}
	p.f("x := ev.Extra\nif x == nil {\nclear(b[Base:])\nreturn\n}\n")
	for _, e := range pl.entries {
		switch {
		case e.off < pl.sizes[len(pl.sizes)-1]:
		case e.Name == "given":
			p.f("le.PutUint64(b[offGiven:], uint64(x.Given))\n")
		case e.field == nil:
			p.f("le.PutUint32(b[off%s:], 0)\n", camel(e.Name))
		case e.field.Type == schema.Strings || e.field.Type == schema.Uint32s:
			p.f("le.PutUint32(b[off%s:], uint32(len(x.%s)))\n", camel(e.Name), e.field.Go)
		default:
			p.put(e, "x."+e.field.Go)
		}
	}
	p.f("}\n\n")

	p.f("// get is the reverse of put.\nfunc get(b *[Size]byte, ev *taskwatch.Event) {\nt := ev.Task\n")
	for _, e := range pl.entries {
		if e.Go != "" {
			p.get(e, e.Go)
		}
	}
	p.f("if ev.Extra == nil {\nreturn\n}\nx := ev.Extra\n")
	for _, e := range pl.entries {
		if e.field != nil && e.field.Type != schema.Strings && e.field.Type != schema.Uint32s {
			p.get(e, "x."+e.field.Go)
		}
	}
	p.f("flags := le.Uint32(b[offFlags:])\n_ = flags\n")
	for _, f := range pl.flags[len(schema.Flags):] {
		p.f("%s = flags&flag%s != 0\n", f.Go, camel(f.Name))
	}
	p.f("}\n\n")

	p.f("// flagsOf returns the flags of an event.\nfunc flagsOf(ev *taskwatch.Event) (flags uint32) {\nt := ev.Task\n")
	for _, f := range schema.Flags {
		p.f("if %s {\nflags |= flag%s\n}\n", f.Go, camel(f.Name))
	}
	if extra := pl.flags[len(schema.Flags):]; len(extra) > 0 {
		p.f("if x := ev.Extra; x != nil {\n")
		for _, f := range extra {
			p.f("if %s {\nflags |= flag%s\n}\n", f.Go, camel(f.Name))
		}
		p.f("}\n")
	}
	p.f("return flags\n}\n\n")

	p.f("// extraText returns a string of an optional field, and the field. An index behind\n// the last one of a list has no field.\nfunc extraText(x *taskwatch.Extra, number, index uint32) (value string, field taskwatch.Fields) {\nif x == nil {\nreturn \"\", 0\n}\nswitch number {\n")
	for _, t := range pl.texts {
		if t.field == nil {
			continue
		}
		p.f("case String%s:\n", camel(t.name))
		switch t.field.Type {
		case schema.String:
			p.f("return x.%s, taskwatch.Field%s\n", t.field.Go, t.field.Const)
		case schema.Strings:
			p.f("if uint64(index) < uint64(len(x.%s)) {\nreturn x.%[1]s[index], taskwatch.Field%s\n}\n", t.field.Go, t.field.Const)
		case schema.Uint32s:
			p.f("if uint64(index) < uint64(len(x.%s)) {\nreturn strconv.FormatUint(uint64(x.%[1]s[index]), 10), taskwatch.Field%s\n}\n", t.field.Go, t.field.Const)
		}
	}
	p.f("}\nreturn \"\", 0\n}\n\n")
	p.f("// numStrings is how many strings there are.\nconst numStrings = %d\n\nvar _ = strconv.FormatUint\n\n", len(pl.texts))
	p.f("// setTexts gives an event the optional fields that a record has not.\nfunc setTexts(x, from *taskwatch.Extra) {\n")
	for _, t := range pl.texts {
		if t.field != nil {
			p.f("x.%s = from.%[1]s\n", t.field.Go)
		}
	}
	p.f("}\n")
	return p.Bytes()
}

func (p *printer) put(e entry, expr string) {
	off := "off" + camel(e.Name)
	switch {
	case e.Count == 4:
		p.f("putIDs(b[%s:%[1]s+16], &%s)\n", off, expr)
	case sizes[e.Type] == 8:
		p.f("le.PutUint64(b[%s:], uint64(%s))\n", off, expr)
	default:
		p.f("le.PutUint32(b[%s:], uint32(%s))\n", off, expr)
	}
}

func (p *printer) get(e entry, expr string) {
	off := "off" + camel(e.Name)
	switch {
	case e.Count == 4:
		p.f("%s = idsAt(b[%s:])\n", expr, off)
	case expr == "ev.Cause":
		p.f("%s = taskwatch.Cause(le.Uint32(b[%s:]))\n", expr, off)
	case e.Type == "u64":
		p.f("%s = le.Uint64(b[%s:])\n", expr, off)
	case e.Type == "s64":
		p.f("%s = int64(le.Uint64(b[%s:]))\n", expr, off)
	case e.Type == "s32":
		p.f("%s = int(int32(le.Uint32(b[%s:])))\n", expr, off)
	default:
		p.f("%s = le.Uint32(b[%s:])\n", expr, off)
	}
}

var guestTypes = map[string]string{"u32": "uint32", "s32": "int32", "u64": "uint64", "s64": "int64", "char": "byte"}

func guest(pl *plan) []byte {
	p := file("guest", "strconv", "structs", "unsafe")
	p.f("// recordSize is the size of a record in bytes.\nconst recordSize = %d\n\n", pl.sizes[0])
	p.f("// record is the task record as the host writes it.\ntype record struct {\n_ structs.HostLayout\n\n")
	for _, e := range pl.entries {
		typ := guestTypes[e.Type]
		if e.Count > 0 {
			typ = fmt.Sprintf("[%d]%s", e.Count, typ)
		}
		p.f("%s %s", camel(e.Name), typ)
		if e.Doc != "" {
			p.f(" // %s", e.Doc)
		}
		p.f("\n")
	}
	p.f("}\n\nvar _ [recordSize]byte = [unsafe.Sizeof(record{})]byte{}\n\n")
	p.f("// The bits of a record's flags.\nconst (\n")
	for i, f := range pl.flags {
		p.f("flag%s = 1 << %d\n", camel(f.Name), i)
	}
	p.f(")\n\n// The strings of an event, as the host numbers them.\nconst (\n")
	for i, t := range pl.texts {
		p.f("string%s = %d\n", camel(t.name), i)
	}
	p.f("string%s = %d\n", camel(schema.ParentExe), schema.ParentExeText)
	p.f(")\n\n// Fields is a set of fields of an event.\ntype Fields uint64\n\n")
	p.f("// The fields of events, by their names in recordings. See [Task.Has].\nconst (\n")
	for i, f := range schema.Table {
		p.f("Field%s Fields = 1 << %d // %s\n", fieldConst(f.Name), i, f.Name)
	}
	p.f(")\n\n// fieldNames are the names of the fields, by their bits.\nvar fieldNames = [...]string{")
	for _, f := range schema.Table {
		p.f("%q, ", f.Name)
	}
	p.f("}\n\n")
	p.f("const optionalFields Fields = 0")
	for i, f := range schema.Table {
		if f.Optional {
			p.f(" | 1 << %d", i)
		}
	}
	p.f("\n\n// The optional fields are zero unless somebody asks for them: see [Info.Reads].\n\n")
	for _, e := range pl.entries {
		if e.field == nil || e.field.Type == schema.Strings || e.field.Type == schema.Uint32s {
			continue
		}
		typ, conv := goTypes[e.field.Type], "t.r."+camel(e.Name)
		if typ == "int" {
			conv = "int(" + conv + ")"
		}
		p.f("// %s: %s.\nfunc (t *Task) %[1]s() %[3]s { return %[4]s }\n\n", e.field.Go, e.field.Doc, typ, conv)
	}
	for _, t := range pl.texts {
		if t.field == nil {
			continue
		}
		name := t.field.Go
		switch t.field.Type {
		case schema.String:
			p.f("// %s: %s.\nfunc (t *Task) %[1]s() string { return text(string%[3]s, 0) }\n\n", name, t.field.Doc, camel(t.name))
		case schema.Strings:
			p.f("// %s: %s.\nfunc (t *Task) %[1]s() []string {\nlist := make([]string, t.r.%[3]sCount)\nfor i := range list {\nlist[i] = text(string%[3]s, uint32(i))\n}\nreturn list\n}\n\n", name, t.field.Doc, camel(t.name))
			p.f("// %sCut says that it is not complete.\nfunc (t *Task) %[1]sCut() bool { return t.r.Flags&flag%sCut != 0 }\n\n", name, camel(t.name))
		case schema.Uint32s:
			p.f("// %s: %s.\nfunc (t *Task) %[1]s() []uint32 {\nlist := make([]uint32, t.r.%[3]sCount)\nfor i := range list {\nn, _ := strconv.ParseUint(text(string%[3]s, uint32(i)), 10, 32)\nlist[i] = uint32(n)\n}\nreturn list\n}\n\n", name, t.field.Doc, camel(t.name))
		}
	}
	for i := range schema.Table {
		if f := &schema.Table[i]; f.Optional && f.Type == schema.Bool {
			p.f("// %s: %s.\nfunc (t *Task) %[1]s() bool { return t.r.Flags&flag%[3]s != 0 }\n\n", f.Go, f.Doc, camel(strings.ReplaceAll(f.Name, ".", "_")))
		}
	}
	p.f("var _ = strconv.ParseUint\n")
	return p.Bytes()
}

// fieldConst turns rusage.utime_ns into RusageUtime.
func fieldConst(name string) string { return camel(strings.TrimSuffix(name, "_ns")) }

func header(pl *plan) []byte {
	var b bytes.Buffer
	b.WriteString("/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */\n")
	fmt.Fprintf(&b, "/* %s */\n", generated)
	b.WriteString("#ifndef TASK_WATCHERS_RECORD_H\n#define TASK_WATCHERS_RECORD_H\n\n")
	b.WriteString("/* The task record: what a module in the sandbox sees of an event and its task.\n * It grows at its end only. What it has behind comm is optional: 0, and missing,\n * unless somebody asks for it: see MODULE_READS(). */\nstruct task_struct {\n")
	for _, e := range pl.entries {
		typ := "__" + e.Type
		if e.Type == "char" {
			typ = "char"
		}
		name := e.Name
		if e.Count > 0 {
			name = fmt.Sprintf("%s[%d]", name, e.Count)
		}
		line := fmt.Sprintf("\t%s %s;", typ, name)
		if e.Doc != "" {
			line = fmt.Sprintf("%-24s/* %s */", line+" ", e.Doc)
		}
		b.WriteString(line + "\n")
	}
	fmt.Fprintf(&b, "};\n\n_Static_assert(sizeof(struct task_struct) == %d, \"the host writes a record of %[1]d bytes\");\n\n", pl.sizes[0])
	b.WriteString("/* The bits of flags. */\n")
	for i, f := range pl.flags {
		fmt.Fprintf(&b, "#define TASK_FLAG_%s %du\n", strings.ToUpper(f.Name), 1<<i)
	}
	b.WriteString("\n/* The bits of missing. */\n")
	for i, f := range schema.Table {
		name := strings.TrimSuffix(strings.ReplaceAll(f.Name, ".", "_"), "_ns")
		fmt.Fprintf(&b, "#define TASK_FIELD_%s (1ull << %d)\n", strings.ToUpper(name), i)
	}
	b.WriteString("\n/* The optional ones of these. */\n#define TASK_FIELDS_OPTIONAL (0ull")
	for i, f := range schema.Table {
		if f.Optional {
			fmt.Fprintf(&b, " | 1ull << %d", i)
		}
	}
	b.WriteString(")\n")
	b.WriteString("\n/* Their names for MODULE_READS(). */\nenum {\n")
	for i, f := range schema.Table {
		if f.Optional {
			fmt.Fprintf(&b, "\ttw_field_%s = %d,\n", strings.ReplaceAll(f.Name, ".", "_"), i)
		}
	}
	fmt.Fprintf(&b, "\ttw_field_%s = %d,\n};\n", schema.ParentExe, schema.ParentExeText)
	b.WriteString("\n/* The strings that the host gives. The numbers of a list are text, too. */\n")
	for i, t := range pl.texts {
		fmt.Fprintf(&b, "#define TASK_STRING_%s %d\n", strings.ToUpper(t.name), i)
	}
	fmt.Fprintf(&b, "#define TASK_STRING_%s %d\n", strings.ToUpper(schema.ParentExe), schema.ParentExeText)
	b.WriteString("\n#endif\n")
	return b.Bytes()
}
