package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"

	"github.com/taskwatch/taskwatch/internal/companion"
	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/module"
)

// Module is a loaded module: its maps and global variables exist in the
// kernel, its watchers run while a [Table] has it registered. It is made by
// [Object.Load] and must be closed. Its methods may be called from any
// goroutine.
type Module struct {
	object *Object
	coll   *ebpf.Collection // maps only
	shared []*sharedMap
	id     uint64  // counts modules
	from   uint64  // id of the module that it has taken all its maps from, or 0
	left   Left    // of the module that it replaces
	log    *logger // or nil

	mu     sync.Mutex // guards the fields below
	table  *Table     // that has it registered, or nil
	closed bool
}

// loads is how many were loaded.
var loads atomic.Uint64

// shares reports whether the maps of the one are those of the other, all of them.
func (m *Module) shares(other *Module) bool {
	return m.from == other.id || other.from == m.id
}

// LoadOptions are the choices of [Object.Load].
type LoadOptions struct {
	// Params holds module parameters by name.
	Params map[string]string

	// Replaces, if set, is the module whose place this one is going to take
	// ([Table.Replace]). Maps of the same name and layout are one map from then
	// on, so that they keep what they hold; so are the global variables, if all
	// have the same places. Other variables and maps of the same name get what those
	// have now, as far as it means the same: see [Module.Left].
	Replaces *Module

	// Table, if set, is where the module is going to be registered. It has the maps of
	// MODULE_SHARED together with the modules that were loaded for that table.
	Table *Table

	// Contents holds the first entries of maps by name, as lines
	// {"key":...,"value":...}. Such a map is never kept; one that is shared gets
	// them beside what it has.
	Contents map[string][]byte

	// Log, if set, gets what the module logs. The source of the table calls it,
	// in its own goroutine, while it runs.
	Log func(slog.Level, string)

	// Companion, if set, are the programs of a built-in that are no watchers.
	Companion *companion.Programs
}

// Load creates the module's maps and sets its parameters. It needs CAP_BPF,
// or root.
func (o *Object) Load(opts LoadOptions) (*Module, error) {
	fail := func(err error, hint string) (*Module, error) {
		return nil, &Error{Op: "load", Module: o.Name, Err: err, Hint: hint}
	}
	without := *o.spec
	without.Programs = map[string]*ebpf.ProgramSpec{} // which would take most of the time
	spec := without.Copy()
	if err := o.setParams(spec, opts.Params); err != nil {
		return fail(invalid("%w", err), "")
	}
	if c := opts.Companion; c != nil && c.Edit != nil {
		if err := c.Edit(spec); err != nil {
			return fail(err, "")
		}
	}
	// Kernels before 5.11 count maps against RLIMIT_MEMLOCK; on later ones
	// this does nothing.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fail(err, hintFor(err))
	}
	var kept kept
	if opts.Replaces != nil {
		if err := kept.from(opts.Replaces, o, spec, opts.Contents); err != nil {
			return fail(err, "")
		}
		defer kept.close()
	}
	initVariables(spec)
	if opts.Companion != nil {
		kept.maps = opts.Companion.Made // no built-in is replaced
	}
	coll, shared, err := o.createMaps(spec, &kept, opts.Table)
	if err != nil {
		return fail(err, cmp.Or(hintFor(err), mapHint(spec, err)))
	}
	if c := opts.Companion; c != nil {
		c.Spec, c.Maps = o.spec, coll.Maps
	}
	m := &Module{object: o, coll: coll, shared: shared, id: loads.Add(1), log: newLogger(opts.Log)}
	if opts.Replaces != nil {
		if len(kept.copies)+len(kept.left.FreshMaps) == 0 {
			m.from = opts.Replaces.id
		}
		if err := kept.copyMaps(opts.Replaces, o, coll); err != nil {
			m.Close()
			return fail(err, "")
		}
		m.left = kept.left
	}
	for _, name := range slices.Sorted(maps.Keys(opts.Contents)) {
		if err := m.fill(name, opts.Contents[name]); err != nil {
			m.Close()
			return fail(fmt.Errorf("content of map %s: %w", name, err), "")
		}
	}
	return m, nil
}

// createMaps creates the maps, but for those that are there: kept ones, and those
// that other modules of the table have, too.
func (o *Object) createMaps(spec *ebpf.CollectionSpec, kept *kept, t *Table) (*ebpf.Collection, []*sharedMap, error) {
	there := maps.Clone(kept.maps)
	if t != nil && len(o.Shared) > 0 {
		t.shared.mu.Lock() // until the others find what is made here
		defer t.shared.mu.Unlock()
		var err error
		if there, err = t.shared.find(o, spec, there); err != nil {
			return nil, nil, err
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: there})
	if err != nil {
		return nil, nil, fmt.Errorf("create its maps: %w", err)
	}
	if t == nil {
		return coll, nil, nil
	}
	shared, err := t.shared.join(o, coll)
	if err != nil {
		coll.Close()
	}
	return coll, shared, err
}

// initVariables moves the values of global variables into the contents of the
// maps that hold them. The library would do it too, and map the variables into
// memory until the next garbage collection, which keeps them alive in the
// kernel after they were closed.
func initVariables(spec *ebpf.CollectionSpec) {
	for _, v := range spec.Variables {
		m := spec.Maps[v.SectionName]
		if m == nil || len(m.Contents) != 1 {
			continue // .bss has no contents but zeros
		}
		if b, ok := m.Contents[0].Value.([]byte); ok && int(v.Offset)+len(v.Value) <= len(b) {
			b = slices.Clone(b) // the object has it too
			copy(b[v.Offset:], v.Value)
			m.Contents[0].Value = b
		}
	}
	spec.Variables = nil
}

// hintFor says what to do about an error of the bpf system call.
func hintFor(err error) string {
	switch {
	case errors.Is(err, syscall.EPERM):
		if why := features.Denied(); why != "" {
			return why
		}
		return "kernel modules need root, or CAP_BPF and CAP_PERFMON"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "this process may have no more files: raise the limit (ulimit -n, or LimitNOFILE= of its unit)"
	case errors.Is(err, syscall.ENOSYS):
		return "the system call bpf is not there: the kernel is built without it, or a seccomp profile (of a container) denies it"
	case errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.ENOMEM):
		return "a map is too large for this machine: see max_entries and the size of its keys and values"
	}
	return ""
}

// refusedMap is the name in what the library says of a map that could not be created.
var refusedMap = regexp.MustCompile(`\bmap ([^ :]+): map create: `)

// mapHint says what to do about a map that the kernel takes for invalid.
func mapHint(spec *ebpf.CollectionSpec, err error) string {
	name := refusedMap.FindStringSubmatch(err.Error())
	if name == nil || !errors.Is(err, syscall.EINVAL) && !errors.Is(err, ebpf.ErrNotSupported) || spec.Maps[name[1]] == nil {
		return ""
	}
	m := spec.Maps[name[1]]
	if m.MaxEntries == 0 && !strings.HasSuffix(m.Type.String(), "Storage") {
		return fmt.Sprintf("map %s has room for nothing: say for how much with __uint(max_entries, NUMBER)", name[1])
	}
	return fmt.Sprintf("map %s is of type %s (%d), with keys of %d bytes, values of %d, %d entries and the flags %#x: "+
		"this kernel does not have the type, or not with these; BPF_MAP_TYPE_CGRP_STORAGE needs Linux 6.2, the others of the header 5.16",
		name[1], m.Type, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, uint32(m.Flags))
}

// mapNamed returns a map, or nil if the module has none of that name.
func (m *Module) mapNamed(name string) asm.FDer {
	if mp := m.coll.Maps[name]; mp != nil {
		return mp
	}
	return nil
}

// Name returns the module's name.
func (m *Module) Name() string { return m.object.Name }

// Left says what the module has not kept of the one that it was loaded to replace.
func (m *Module) Left() Left { return m.left }

// Globals reads all global variables, sorted by name, while the module runs or
// not. Each is read as a whole; one that changes meanwhile may be torn. More
// than [module.MaxGlobals] bytes in all are an error that matches
// [module.ErrTooLarge].
func (m *Module) Globals() ([]module.Global, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, &Error{Op: "read", Module: m.Name(), Err: ErrClosed}
	}
	return m.object.globals(func(section string) ([]byte, error) {
		mp := m.coll.Maps[section]
		if mp == nil {
			return nil, nil
		}
		b := make([]byte, mp.ValueSize())
		return b, mp.Lookup(uint32(0), b)
	})
}

// Close frees the module's maps. A module that is still registered is an
// error, and stays open. Closing twice is harmless.
func (m *Module) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table != nil {
		return &Error{Op: "close", Module: m.Name(), Err: errors.New("it is still registered: unregister it first")}
	}
	if !m.closed {
		m.closed = true
		m.coll.Close()
		for _, s := range m.shared {
			s.leave(m.Name())
		}
	}
	return nil
}

// claim marks the module as registered with t, if nobody else has it.
func (m *Module) claim(t *Table) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if m.table != nil {
		return errRegistered
	}
	m.table = t
	return nil
}

func (m *Module) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table = nil
}
