package kernel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// MapInfo describes a map of an object.
type MapInfo struct {
	Name       string
	Type       string
	KeySize    uint32
	ValueSize  uint32
	MaxEntries uint32
	Shared     bool // with other modules
}

// Maps lists the maps that the module defines; the compiler's own, which hold
// its global variables, are left out.
func (o *Object) Maps() []MapInfo {
	var list []MapInfo
	for _, name := range slices.Sorted(maps.Keys(o.spec.Maps)) {
		if m := o.spec.Maps[name]; !strings.HasPrefix(name, ".") {
			list = append(list, MapInfo{name, fmt.Sprint(m.Type), m.KeySize, m.ValueSize, m.MaxEntries, slices.Contains(o.Shared, name)})
		}
	}
	return list
}
