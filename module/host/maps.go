package host

import (
	"fmt"

	"github.com/taskwatch/taskwatch/module"
)

// MapAccess reads and changes the maps of a module: see the methods of those names of
// [kernel.Module] and [wasm.Module].
type MapAccess interface {
	ReadMap(name string) (module.MapEntries, error)
	LookupMap(name, key string) (module.MapEntry, error)
	UpdateMap(name, key, value string) error
	DeleteMapEntry(name, key string) error
}

// Maps returns the access to the maps of a module, or an error that matches
// [module.ErrNoMap] if modules of its kind have none.
func Maps(m Module) (MapAccess, error) {
	switch m := m.(type) {
	case *kernelModule:
		return m.module, nil
	case *sandboxed:
		return m.module, nil
	}
	return nil, fmt.Errorf("%w: a module in this program has none", module.ErrNoMap)
}
