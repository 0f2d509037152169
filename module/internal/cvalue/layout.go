package cvalue

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// Layout describes the bytes of a type: the names and places of all that it
// consists of. What is equal means the same.
func Layout(t btf.Type) string { return layout(t, 0) }

func layout(t btf.Type, depth int) string {
	var members []btf.Member
	switch t := btf.UnderlyingType(t).(type) {
	case nil:
		return ""
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	case *btf.Array:
		return fmt.Sprintf("%s[%d]", layout(t.Type, depth+1), t.Nelems)
	default:
		size, err := btf.Sizeof(t)
		return fmt.Sprint(TypeName(t), size, err)
	}
	if depth > 16 {
		return "too deep"
	}
	var b strings.Builder
	for _, m := range members {
		fmt.Fprintf(&b, "%s@%d:%d %s;", m.Name, m.Offset, m.BitfieldSize, layout(m.Type, depth+1))
	}
	return "{" + b.String() + "}"
}
