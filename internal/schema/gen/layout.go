package main

import (
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/internal/schema"
)

// placed is a member of the record with its place.
type placed struct {
	schema.Member
	off   int
	field *schema.Field // of an optional field, else nil
}

// plan is the record: its members, and its sizes, the newest first.
type plan struct {
	members []placed
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

func (e placed) size() int { return sizes[e.Type] * max(e.Count, 1) }

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
	add := func(e placed) {
		if off%sizes[e.Type] != 0 {
			pad := sizes[e.Type] - off%sizes[e.Type]
			if pad != 4 {
				log.Fatalf("%s at %d is not aligned", e.Name, off)
			}
			pl.members = append(pl.members, placed{Member: schema.Member{Name: fmt.Sprintf("reserved%d", off), Type: "u32"}, off: off})
			off += pad
		}
		e.off = off
		pl.members = append(pl.members, e)
		off += e.size()
	}
	end := func() {
		if off%8 == 4 {
			add(placed{Member: schema.Member{Name: fmt.Sprintf("reserved%d", off), Type: "u32"}})
		}
		if off%8 != 0 {
			log.Fatalf("%d bytes need padding", off)
		}
		pl.sizes = append([]int{off}, pl.sizes...)
	}
	for _, e := range schema.First {
		add(placed{Member: e})
	}
	for _, name := range schema.Texts {
		pl.texts = append(pl.texts, text{name: name})
	}
	end()
	add(placed{Member: schema.Member{Name: "given", Type: "u64", Go: "", Doc: "TASK_FIELD_*: the optional fields that are there"}})
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
		e := placed{Member: schema.Member{Name: name, Type: recordTypes[f.Type], Doc: f.Doc}, field: f}
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

func ctype(e placed) string {
	if e.Count > 0 {
		return fmt.Sprintf("%s[%d]", e.Type, e.Count)
	}
	return e.Type
}
