package main

import (
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/internal/schema"
)

// rawTypes are what JSON is read into: pointers tell absent from zero.
var rawTypes = map[schema.Type]string{
	schema.Int: "*int32", schema.Int64: "*int64", schema.Uint32: "*uint32", schema.Uint64: "*uint64", schema.Mask: "*rawMask",
	schema.String: "*string", schema.Bool: "*bool", schema.Strings: "*[]string", schema.Uint32s: "*rawUints",
	schema.IDs: "rawUints", schema.TaskID: "*string", schema.Cause: "*string",
}

// member is a field in an object of a line.
type member struct {
	schema.Field
	key  string // in the object
	from string // the expression of its value
	raw  string // the name in the raw object
}

// members returns the fields of a group, or, of "", those that are in none.
func members(groupName, prefix string, meant func(schema.Field) bool) (list []member) {
	for _, f := range schema.Table {
		if !meant(f) {
			continue
		}
		name, key, grouped := strings.Cut(f.Name, ".")
		if !grouped {
			name, key = "", f.Name
		}
		if name != groupName {
			continue
		}
		leaf := f.Go[strings.LastIndexByte(f.Go, '.')+1:]
		list = append(list, member{f, key, prefix + leaf, camel(key)})
	}
	return list
}

// optionalGroups returns the groups of optional fields, in order.
func optionalGroups() (list []string) {
	seen := map[string]bool{"": true}
	for _, f := range schema.Table {
		if name, _, grouped := strings.Cut(f.Name, "."); f.Optional && grouped && !seen[name] {
			seen[name] = true
			list = append(list, name)
		}
	}
	return list
}

// objects are the groups of fields that are not optional, with their types.
var objects = []struct{ name, typ string }{{"exit", "ExitStatus"}, {"rusage", "Rusage"}}

// recording is how fields become JSON and are read from it.
func recording() []byte {
	p := file("record", "fmt", "strconv", module)
	task := members("", "t.", ofTask)
	for _, part := range []func([]member){p.appends, p.raws, p.takes, p.reads} {
		part(task)
	}
	p.f("func badID(where, value string, err error) error {\nreturn &SyntaxError{Reason: fmt.Sprintf(\"%%s is %%q, not two base-36 numbers joined by a dash\", where, value), Err: err}\n}\n")
	return p.Bytes()
}

// appends prints what makes JSON of fields.
func (p *printer) appends(task []member) {
	p.f("func appendTaskFields(b []byte, t *taskwatch.Task, has taskwatch.Fields) []byte {\n")
	p.appendAll(task)
	p.f("return b\n}\n\n")

	for _, g := range objects {
		p.f("func append%s(b []byte, x *taskwatch.%s, has taskwatch.Fields) []byte {\n", camel(g.name), g.typ)
		p.f("if has&taskwatch.Fields%s == 0 {\nreturn b\n}\n", camel(g.name))
		p.appendObject(g.name, members(g.name, "x.", group(g.name)))
		p.f("return b\n}\n\n")
	}

	p.f("// appendExtra appends the optional fields, all of which describe the task.\nfunc appendExtra(b []byte, x *taskwatch.Extra, has taskwatch.Fields) []byte {\n")
	p.appendAll(members("", "x.", optional))
	for _, g := range optionalGroups() {
		of := members(g, "x.", optional)
		p.f("if has&(%s) != 0 {\n", consts("taskwatch.", func(f schema.Field) bool { return optional(f) && strings.HasPrefix(f.Name, g+".") }))
		p.appendObject(g, of)
		p.f("}\n")
	}
	p.f("return b\n}\n\n")
}

// raws prints the structs that JSON is read into.
func (p *printer) raws(task []member) {
	p.f("type rawTask struct {\nID string `json:\"id\"`\n")
	for _, m := range slices.Concat(task, members("", "", optional)) {
		p.rawMember(m)
	}
	for _, g := range optionalGroups() {
		p.f("%s struct {\n", camel(g))
		for _, m := range members(g, "", optional) {
			p.rawMember(m)
		}
		p.f("} `json:%q`\n", g)
	}
	p.f("}\n\n")
	for _, g := range objects {
		p.f("type raw%s struct {\n", camel(g.name))
		for _, m := range members(g.name, "", group(g.name)) {
			p.rawMember(m)
		}
		p.f("}\n\n")
	}
}

// takes prints what takes the fields out of those structs.
func (p *printer) takes(task []member) {
	p.f("// take takes the fields of a task, but its id.\nfunc (raw *rawTask) take(f *fields, t *taskwatch.Task) error {\n")
	for _, m := range task {
		p.take(m, "raw."+m.raw, "task."+m.key)
	}
	p.f("return nil\n}\n\n")
	p.f("// extra takes the optional fields.\nfunc (raw *rawTask) extra(f *fields, x *taskwatch.Extra) error {\n")
	for _, m := range members("", "x.", optional) {
		p.take(m, "raw."+m.raw, "task."+m.key)
	}
	for _, g := range optionalGroups() {
		for _, m := range members(g, "x.", optional) {
			p.take(m, "raw."+camel(g)+"."+m.raw, "task."+m.Name)
		}
	}
	p.f("return nil\n}\n\n")
	for _, g := range objects {
		p.f("func (raw *raw%s) take(f *fields, x *taskwatch.%s) {\n", camel(g.name), g.typ)
		for _, m := range members(g.name, "x.", group(g.name)) {
			p.take(m, "raw."+m.raw, m.Name)
		}
		p.f("}\n\n")
	}
}

// reads prints what reads fields from JSON without them.
func (p *printer) reads(task []member) {
	p.f("// task reads the fields of a task, but its id.\nfunc (c *cursor) task(t *taskwatch.Task) (got taskwatch.Fields) {\n")
	p.readAll(task)
	p.f("return got\n}\n\n")
	p.f("// extra reads the optional fields.\nfunc (c *cursor) extra(x *taskwatch.Extra) (got taskwatch.Fields) {\n")
	p.readAll(members("", "x.", optional))
	for _, g := range optionalGroups() {
		p.f("if c.open(`%q:`) {\n", g)
		p.readAll(members(g, "x.", optional))
		p.f("c.close()\n}\n")
	}
	p.f("return got\n}\n\n")
	for _, g := range objects {
		p.f("func (c *cursor) %s(x *taskwatch.%s) (got taskwatch.Fields) {\n", g.name, g.typ)
		p.readAll(members(g.name, "x.", group(g.name)))
		p.f("return got\n}\n\n")
	}
}

func (p *printer) appendObject(name string, list []member) {
	p.f("b = append(b, `,%q:`...)\nstart := len(b)\n", name)
	p.appendAll(list)
	p.f("b = enclose(b, start, \"{}\")\n")
}

func (p *printer) appendAll(list []member) {
	for _, m := range list {
		p.f("if has.Has(taskwatch.Field%s) {\n", m.Const)
		key := "`,\"" + m.key + "\":`"
		switch m.Type {
		case schema.Int, schema.Int64:
			v := m.from
			if m.Type == schema.Int {
				v = "int64(" + v + ")"
			}
			p.f("b = appendInt(b, %s, %s)\n", key, v)
		case schema.Uint32:
			p.f("b = appendUint(b, %s, uint64(%s))\n", key, m.from)
		case schema.Uint64:
			p.f("b = appendUint(b, %s, %s)\n", key, m.from)
		case schema.Mask:
			p.f("b = appendMask(b, %s, %s)\n", key, m.from)
		case schema.String:
			p.f("b = appendString(append(b, %s...), %s)\n", key, m.from)
		case schema.Bool:
			p.f("b = strconv.AppendBool(append(b, %s...), %s)\n", key, m.from)
		case schema.Strings:
			p.f("b = appendStrings(b, %s, %s)\nb = appendMark(b, `,\"%s_cut\":true`, %sCut)\n", key, m.from, m.key, m.from)
		case schema.Uint32s:
			p.f("b = appendUints(b, %s, %s)\n", key, m.from)
		case schema.IDs:
			p.f("b = appendUints(b, %s, %s[:])\n", key, m.from)
		case schema.TaskID:
			p.f("b = append(b, `,\"%s\":\"`...)\nb = append(%s.Append(b), '\"')\n", m.key, m.from)
		default:
			panic("no JSON of " + m.Type)
		}
		p.f("}\n")
	}
}

// readers are the cursor's methods for values.
var readers = map[schema.Type]string{
	schema.Int: "int(c.int(32))", schema.Int64: "c.int(64)", schema.Uint32: "uint32(c.uint(32))", schema.Uint64: "c.uint(64)", schema.Mask: "c.mask()",
	schema.String: "c.string()", schema.Bool: "c.bool()", schema.Strings: "c.strings()", schema.Uint32s: "c.uints()",
	schema.IDs: "c.ids()", schema.TaskID: "c.taskID()",
}

func (p *printer) readAll(list []member) {
	for _, m := range list {
		p.f("if c.key(`%q:`) {\n%s = %s\n", m.key, m.from, readers[m.Type])
		if m.Type == schema.Strings {
			p.f("%sCut = c.key(`\"%s_cut\":true`)\n", m.from, m.key)
		}
		p.f("got |= taskwatch.Field%s\n}\n", m.Const)
	}
}

func (p *printer) rawMember(m member) {
	p.f("%s %s `json:%q`\n", m.raw, rawTypes[m.Type], m.key)
	if m.Type == schema.Strings {
		p.f("%sCut bool `json:%q`\n", m.raw, m.key+"_cut")
	}
}

func (p *printer) take(m member, raw, where string) {
	field := "taskwatch.Field" + m.Const
	switch m.Type {
	case schema.Int:
		p.f("takeInt(f, %s, &%s, %s)\n", field, m.from, raw)
	case schema.String:
		p.f("takeString(f, %s, &%s, %s)\n", field, m.from, raw)
	case schema.Strings:
		p.f("if takeStrings(f, %s, &%s, %s) {\n%sCut = %sCut\n}\n", field, m.from, raw, m.from, raw)
	case schema.IDs:
		p.f("if err := takeIDs(f, %s, &%s, %s, %q); err != nil {\nreturn err\n}\n", field, m.from, raw, where)
	case schema.Mask:
		p.f("take(f, %s, &%s, (*uint64)(%s))\n", field, m.from, raw)
	case schema.Uint32s:
		p.f("take(f, %s, &%s, (*[]uint32)(%s))\n", field, m.from, raw)
	case schema.TaskID:
		p.f("if %s != nil && f.takes(%s) {\nid, err := taskwatch.ParseTaskID(*%[1]s)\nif err != nil {\nreturn badID(%[3]q, *%[1]s, err)\n}\n%[4]s = id\n}\n",
			raw, field, where, m.from)
	default:
		p.f("take(f, %s, &%s, %s)\n", field, m.from, raw)
	}
}

// replay is how a recording's task takes what an event says of it.
func replay() []byte {
	p := file("replay", module)
	p.f("// set copies the given fields.\nfunc set(to, from *taskwatch.Task, has taskwatch.Fields) {\n")
	for _, m := range members("", "", ofTask) {
		p.f("if has.Has(taskwatch.Field%s) {\nto.%s = from.%[2]s\n", m.Const, m.from)
		if m.Type == schema.Strings {
			p.f("to.%sCut = from.%[1]sCut\n", m.from)
		}
		p.f("}\n")
	}
	p.f("}\n")
	return p.Bytes()
}

// groups is what the bpf source gathers for which field.
func groups() []byte {
	p := file("bpf", module)
	p.f("// gathered are the groups of facts that are gathered only for these fields.\nvar gathered = [...]struct {\ngroup uint32\nfields taskwatch.Fields\n}{\n")
	seen := map[string]bool{"": true}
	for _, f := range schema.Table {
		if g := f.Gather; !seen[g] {
			seen[g] = true
			p.f("{want%s, %s},\n", camel(g), consts("taskwatch.", func(f schema.Field) bool { return f.Gather == g }))
		}
	}
	p.f("}\n")
	return p.Bytes()
}

// random makes optional fields for tests.
func random() []byte {
	p := file("randevent", "math/rand/v2", module)
	p.f("// Extra returns random optional fields, of which the given ones are there and\n// the others zero.\nfunc Extra(r *rand.Rand, given taskwatch.Fields, text func() string) *taskwatch.Extra {\nx := &taskwatch.Extra{Given: given}\n")
	p.f("flag := func() bool { return r.IntN(2) == 0 }\n_ = flag\n")
	for _, f := range schema.Table {
		if !f.Optional {
			continue
		}
		p.f("if given.Has(taskwatch.Field%s) {\n", f.Const)
		switch f.Type {
		case schema.Strings:
			p.f("x.%s, x.%[1]sCut = make([]string, r.IntN(4)), flag()\nfor i := range x.%[1]s {\nx.%[1]s[i] = text()\n}\n", f.Go)
		case schema.Uint32s:
			p.f("x.%s = make([]uint32, r.IntN(4))\nfor i := range x.%[1]s {\nx.%[1]s[i] = r.Uint32()\n}\n", f.Go)
		default:
			p.f("x.%s = %s\n", f.Go, map[schema.Type]string{
				schema.Int: "int(r.Int32())", schema.Int64: "r.Int64()", schema.Uint32: "r.Uint32()", schema.Uint64: "r.Uint64()",
				schema.Mask: "r.Uint64()", schema.String: "text()", schema.Bool: "flag()",
			}[f.Type])
		}
		p.f("}\n")
	}
	p.f("return x\n}\n")
	return p.Bytes()
}

// page is the table for people.
func page() []byte {
	p := new(printer)
	p.f("<!-- %s -->\n# Fields\n\n", generated)
	p.f("The fields of an event, under their names in `missing`, in filters and in columns. A field is known, or missing where the source\ncould not give it, or does not belong to the kind of event.\n\n")
	for _, opt := range []bool{false, true} {
		if opt {
			p.f("\n## Optional fields\n\nThese are gathered only where `--fields` names them, or their group: what stands before the dot. Recordings always have\n`before`, so that a summary of them can say what each program has used.\n\n")
			p.f("| field | type | events | what | costs |\n|---|---|---|---|---|\n")
		} else {
			p.f("## Default fields\n\n| field | type | events | what |\n|---|---|---|---|\n")
		}
		for _, f := range schema.Table {
			if f.Optional != opt {
				continue
			}
			typ := string(f.Type)
			if f.Unit != "" {
				typ += ", " + f.Unit
			}
			events := f.Kinds
			if len(strings.Split(events, ",")) == len(kindNames) {
				events = "all"
			}
			p.f("| `%s` | %s | %s | %s |", f.Name, typ, strings.ReplaceAll(events, ",", ", "), f.Doc+f.Detail)
			if opt {
				p.f(" %s |", f.Cost)
			}
			p.f("\n")
		}
	}
	return p.Bytes()
}
