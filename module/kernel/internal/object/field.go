package object

import (
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/lazyregexp"
)

// Lacking names what a function, and what it calls, uses of a kernel's types that those
// do not have: fields, mostly. What it asks for before it is used is among them.
func (f *File) Lacking(symbol string, kernel *btf.Spec) (fields []string) {
	seen := map[string]bool{}
	var look func(string)
	look = func(symbol string) {
		if seen[symbol] {
			return
		}
		seen[symbol] = true
		body := f.Code.Funcs[symbol]
		for i := range body {
			if ins := &body[i]; ins.IsFunctionReference() {
				look(ins.Reference())
			}
			relo := btf.CORERelocationMetadata(&body[i])
			if relo == nil {
				continue
			}
			fixups, err := btf.CORERelocate([]*btf.CORERelocation{relo}, []*btf.Spec{kernel}, f.Spec.ByteOrder,
				func(btf.Type) (btf.TypeID, error) { return 0, unix.ENOTSUP })
			if err != nil || !Poisoned(fixups[0].String()) {
				continue
			}
			if name := FieldOf(f.Spec.Types, relo); !slices.Contains(fields, name) {
				fields = append(fields, name)
			}
		}
	}
	look(symbol)
	return fields
}

// Poisoned reports whether a relocation found nothing to refer to. It takes its text.
func Poisoned(fixup string) bool { return strings.HasSuffix(fixup, "=poison") }

// reloText is the text of a relocation: the type and the way to a field of it.
var reloText = lazyregexp.New(`"([^"]+)".*\[([0-9:]+)\]`)

// FieldOf names what a relocation is about.
func FieldOf(types *btf.Spec, relo *btf.CORERelocation) string {
	m := reloText.FindStringSubmatch(relo.String())
	if m == nil {
		return "what the kernel has"
	}
	name := "struct " + m[1]
	found, err := types.AnyTypesByName(m[1])
	if err != nil {
		return name
	}
	t := found[0]
	for _, step := range strings.Split(m[2], ":")[1:] {
		i, err := strconv.Atoi(step)
		if err != nil {
			return name
		}
		var members []btf.Member
		switch u := btf.UnderlyingType(t).(type) {
		case *btf.Struct:
			members = u.Members
		case *btf.Union:
			members = u.Members
		case *btf.Array:
			t = u.Type
			continue
		}
		if i >= len(members) {
			return name
		}
		if members[i].Name != "" {
			name += "." + members[i].Name
		}
		t = members[i].Type
	}
	return name
}
