package main

import (
	"slices"

	"github.com/taskwatch/taskwatch/internal/schema"
)

func wire(pl *plan) []byte {
	p := file("wire", "strconv", module)
	for _, part := range []func(*plan){p.wireLayout, p.wirePut, p.wireGet, p.wireHide, p.wireFlags, p.wireTexts} {
		part(pl)
	}
	return p.Bytes()
}

// wireLayout prints where everything is.
func (p *printer) wireLayout(pl *plan) {
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
	for _, e := range pl.members {
		p.f("off%s = %d // %s\n", camel(e.Name), e.off, ctype(e))
	}
	p.f(")\n\n")
	p.flagBits(pl)
	p.f("// The strings of an event that a module may ask for.\nconst (\n")
	for i, t := range pl.texts {
		p.f("String%s = %d\n", camel(t.name), i)
	}
	p.f("String%s = %d // of no event: see Strings\n)\n\n", camel(schema.ParentExe), schema.ParentExeText)
}

// flagBits prints the bits of a record's flags, as the host and the guest have them.
func (p *printer) flagBits(pl *plan) {
	p.f("// The bits of a record's flags.\nconst (\n")
	for i, f := range pl.flags {
		p.f("flag%s = 1 << %d\n", camel(f.Name), i)
	}
	p.f(")\n\n")
}

// wirePut prints what writes a record.
func (p *printer) wirePut(pl *plan) {
	p.f("// put writes the facts of an event that need no thought.\nfunc put(b *[Size]byte, ev *taskwatch.Event) {\nt := ev.Task\n")
	for _, e := range pl.members {
		if e.Go != "" {
			p.put(e, e.Go)
		}
	}
	p.f("x := ev.Extra\nif x == nil {\nclear(b[Base:])\nreturn\n}\n")
	for _, e := range pl.members {
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
}

// wireGet prints what reads one.
func (p *printer) wireGet(pl *plan) {
	p.f("// get is the reverse of put.\nfunc get(b *[Size]byte, ev *taskwatch.Event) {\nt := ev.Task\n")
	for _, e := range pl.members {
		if e.Go != "" {
			p.get(e, e.Go)
		}
	}
	p.f("if ev.Extra == nil {\nreturn\n}\nx := ev.Extra\n")
	for _, e := range pl.members {
		if e.field != nil && e.field.Type != schema.Strings && e.field.Type != schema.Uint32s {
			p.get(e, "x."+e.field.Go)
		}
	}
	p.f("flags := le.Uint32(b[offFlags:])\n_ = flags\n")
	for _, f := range pl.flags[len(schema.Flags):] {
		p.f("%s = flags&flag%s != 0\n", f.Go, camel(f.Name))
	}
	p.f("}\n\n")
}

// wireHide prints what a module may do without.
func (p *printer) wireHide(pl *plan) {
	p.f("// Spared are the default fields that are not gathered for a module that says that it\n// does not read them.\nconst Spared = %s\n\n", consts("taskwatch.", spared))
	p.f("// hide clears the numbers that a record has of these fields.\nfunc hide(b []byte, fields taskwatch.Fields) {\n")
	for i := range schema.Table {
		f := &schema.Table[i]
		if m := slices.IndexFunc(pl.members, func(e placed) bool { return e.Go == "ev."+f.Go }); spared(*f) && m >= 0 {
			p.f("if fields.Has(taskwatch.Field%s) {\nle.PutUint64(b[off%s:], 0)\n}\n", f.Const, camel(pl.members[m].Name))
		}
	}
	p.f("}\n\n")
}

// wireFlags prints what makes the flags of a record.
func (p *printer) wireFlags(pl *plan) {
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
}

// wireTexts prints what finds the strings that are not in a record.
func (p *printer) wireTexts(pl *plan) {
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
}

func (p *printer) put(e placed, expr string) {
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

func (p *printer) get(e placed, expr string) {
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
