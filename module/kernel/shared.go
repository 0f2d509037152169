package kernel

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// sharedMaps are the maps of MODULE_SHARED that modules of a table have together.
type sharedMaps struct {
	mu     sync.Mutex // guards the maps and their users; taken after that of a module
	byName map[string]*sharedMap
}

// sharedMap is one of them. It is the table's while a module has it.
type sharedMap struct {
	in    *sharedMaps
	name  string
	spec  *ebpf.MapSpec
	m     *ebpf.Map // a descriptor of its own
	users []string  // names of the modules that have it
}

// find adds the maps that others have to those that are there for a module. Callers
// hold mu.
func (s *sharedMaps) find(o *Object, spec *ebpf.CollectionSpec, there map[string]*ebpf.Map) (map[string]*ebpf.Map, error) {
	if there == nil {
		there = map[string]*ebpf.Map{}
	}
	for _, name := range o.Shared {
		shared := s.byName[name]
		if shared == nil {
			continue
		}
		if what := difference(shared.spec, spec.Maps[name]); what != "" {
			return nil, fmt.Errorf("MODULE_SHARED(%s): %s has this map with %s; build both from one definition, or unload that first",
				name, strings.Join(shared.users, ", "), what)
		}
		there[name] = shared.m
	}
	return there, nil
}

// difference says what of a map is other than another module wants it, or "".
func difference(have, want *ebpf.MapSpec) string {
	for _, c := range []struct {
		what       string
		have, want any
	}{
		{"the type", have.Type, want.Type},
		{"a key size of", have.KeySize, want.KeySize},
		{"a value size of", have.ValueSize, want.ValueSize},
		{"a max_entries of", have.MaxEntries, want.MaxEntries},
		{"map_flags of", have.Flags, want.Flags},
	} {
		if c.have != c.want {
			return fmt.Sprintf("%s %v, and not %v", c.what, c.have, c.want)
		}
	}
	switch {
	case cvalue.Layout(have.Key) != cvalue.Layout(want.Key):
		return "another type of key"
	case cvalue.Layout(have.Value) != cvalue.Layout(want.Value):
		return "another type of value"
	}
	return ""
}

// join makes a module that has these maps a user of the ones it shares. Callers hold
// mu.
func (s *sharedMaps) join(o *Object, coll *ebpf.Collection) (list []*sharedMap, err error) {
	for _, name := range o.Shared {
		shared := s.byName[name]
		if shared == nil {
			own, err := coll.Maps[name].Clone()
			if err != nil {
				for _, joined := range list {
					joined.drop(o.Name)
				}
				return nil, err
			}
			shared = &sharedMap{in: s, name: name, spec: o.file.Spec.Maps[name], m: own}
			if s.byName == nil {
				s.byName = map[string]*sharedMap{}
			}
			s.byName[name] = shared
		}
		shared.users = append(shared.users, o.Name)
		list = append(list, shared)
	}
	return list, nil
}

// has reports whether a module was loaded for this table.
func (s *sharedMaps) has(m *Module) bool {
	return len(m.shared) > 0 && m.shared[0].in == s
}

// leave says that a module has the map no longer; with the last it is gone.
func (shared *sharedMap) leave(module string) {
	shared.in.mu.Lock()
	defer shared.in.mu.Unlock()
	shared.drop(module)
}

// drop is leave for callers that hold mu.
func (shared *sharedMap) drop(module string) {
	if i := slices.Index(shared.users, module); i >= 0 {
		shared.users = slices.Delete(shared.users, i, i+1)
	}
	if len(shared.users) == 0 {
		shared.m.Close()
		delete(shared.in.byName, shared.name)
	}
}
