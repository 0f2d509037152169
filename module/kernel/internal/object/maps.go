package object

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/module"
)

// MapNames lists the maps that the module defines; the compiler's own, which hold
// its global variables, are left out.
func (f *File) MapNames() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(f.Spec.Maps)), isVariables)
}

// isVariables reports whether a map is one of the compiler's.
func isVariables(name string) bool { return strings.HasPrefix(name, ".") }

// Map finds a map that the module defines.
func (f *File) Map(name string) (*ebpf.MapSpec, error) {
	if spec := f.Spec.Maps[name]; spec != nil && !isVariables(name) {
		return spec, nil
	}
	return nil, fmt.Errorf("%w; the module has %s", module.ErrNoMap, f.describeMaps())
}

func (f *File) describeMaps() string {
	if names := f.MapNames(); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "none"
}
