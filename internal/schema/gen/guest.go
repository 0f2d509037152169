package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/internal/schema"
)

var guestTypes = map[string]string{"u32": "uint32", "s32": "int32", "u64": "uint64", "s64": "int64", "char": "byte"}

func guest(pl *plan) []byte {
	p := file("guest", "strconv", "structs", "unsafe")
	p.f("// recordSize is the size of a record in bytes.\nconst recordSize = %d\n\n", pl.sizes[0])
	p.f("// record is the task record as the host writes it.\ntype record struct {\n_ structs.HostLayout\n\n")
	for _, e := range pl.members {
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
	p.flagBits(pl)
	p.f("// The strings of an event, as the host numbers them.\nconst (\n")
	for i, t := range pl.texts {
		p.f("string%s = %d\n", camel(t.name), i)
	}
	p.f("string%s = %d\n", camel(schema.ParentExe), schema.ParentExeText)
	p.f(")\n\n// Fields is a set of fields of an event.\ntype Fields uint64\n\n")
	p.f("// The fields of events, by their names in recordings. See [Task.Has].\nconst (\n")
	for i, f := range schema.Table {
		p.f("Field%s Fields = 1 << %d // %s\n", fieldConst(f.Name), i, f.Name)
	}
	p.f(")\n\n// FieldsRusage are those of [Task.Rusage].\nconst FieldsRusage = %s\n\n", guestConsts(group("rusage")))
	p.f("// sparedFields are default ones that are not gathered for a module that says that it\n// does not read them: see [Info.Only].\nconst sparedFields = %s\n\n", guestConsts(spared))
	p.f("// fieldNames are the names of the fields, by their bits.\nvar fieldNames = [...]string{")
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
	for _, e := range pl.members {
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

// guestConsts joins the constants of the fields that are meant.
func guestConsts(meant func(schema.Field) bool) string {
	var list []string
	for _, f := range schema.Table {
		if meant(f) {
			list = append(list, "Field"+fieldConst(f.Name))
		}
	}
	return strings.Join(list, " | ")
}

// fieldConst turns rusage.utime_ns into RusageUtime.
func fieldConst(name string) string { return camel(strings.TrimSuffix(name, "_ns")) }

func header(pl *plan) []byte {
	var b bytes.Buffer
	b.WriteString("/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */\n")
	fmt.Fprintf(&b, "/* %s */\n", generated)
	b.WriteString("#ifndef TASK_WATCHERS_RECORD_H\n#define TASK_WATCHERS_RECORD_H\n\n")
	b.WriteString("/* The task record: what a module in the sandbox sees of an event and its task.\n * It grows at its end only. What it has behind comm is optional: 0, and missing,\n * unless somebody asks for it: see MODULE_READS(). */\nstruct task_struct {\n")
	for _, e := range pl.members {
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
	b.WriteString("\n/* What MODULE_READS() takes: the optional fields, and default ones that cost\n * something. */\nenum {\n")
	named := func(do func(name, key string, n int)) {
		for i, f := range schema.Table {
			switch name := strings.ReplaceAll(f.Name, ".", "_"); {
			case f.Optional:
				do(name, "reads", i)
			case spared(f):
				do(name, "default", i)
			}
		}
		do("rusage", "default", slices.IndexFunc(schema.Table, group("rusage")))
		do(schema.ParentExe, "reads", schema.ParentExeText)
	}
	named(func(name, _ string, n int) { fmt.Fprintf(&b, "\ttw_field_%s = %d,\n", name, n) })
	b.WriteString("};\n\n")
	named(func(name, key string, _ int) { fmt.Fprintf(&b, "#define TW_READS_%s %q\n", name, key) })
	b.WriteString("\n/* The strings that the host gives. The numbers of a list are text, too. */\n")
	for i, t := range pl.texts {
		fmt.Fprintf(&b, "#define TASK_STRING_%s %d\n", strings.ToUpper(t.name), i)
	}
	fmt.Fprintf(&b, "#define TASK_STRING_%s %d\n", strings.ToUpper(schema.ParentExe), schema.ParentExeText)
	b.WriteString("\n#endif\n")
	return b.Bytes()
}
