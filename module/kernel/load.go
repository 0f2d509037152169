package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/taskwatch/taskwatch/internal/companion"
	"github.com/taskwatch/taskwatch/internal/lazyregexp"
	"github.com/taskwatch/taskwatch/module/kernel/internal/bpfmap"
	"github.com/taskwatch/taskwatch/module/kernel/internal/object"
)

// loads is how many were loaded.
var loads atomic.Uint64

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

// CheckParams returns the error that Load returns for parameters that the module does
// not have, or cannot have. It needs no privileges.
func (o *Object) CheckParams(values map[string]string) error {
	if _, err := o.withParams(values); err != nil {
		return &Error{Op: "load", Module: o.Name, Err: err}
	}
	return nil
}

// withParams returns what is to be loaded, but for the programs, with the parameters set.
func (o *Object) withParams(values map[string]string) (*ebpf.CollectionSpec, error) {
	without := *o.file.Spec
	without.Programs = map[string]*ebpf.ProgramSpec{} // which would take most of the time
	spec := without.Copy()
	if err := o.file.SetParams(spec, values); err != nil {
		return nil, object.Invalid("%w", err)
	}
	return spec, nil
}

// Load creates the module's maps and sets its parameters. It needs CAP_BPF,
// or root.
func (o *Object) Load(opts LoadOptions) (*Module, error) {
	fail := func(err error, hint string) (*Module, error) {
		return nil, &Error{Op: "load", Module: o.Name, Err: err, Hint: hint}
	}
	spec, err := o.withParams(opts.Params)
	if err != nil {
		return fail(err, "")
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
	object.InitVariables(spec)
	if opts.Companion != nil {
		kept.maps = opts.Companion.Made // no built-in is replaced
	}
	coll, shared, err := o.createMaps(spec, &kept, opts.Table)
	if err != nil {
		return fail(err, cmp.Or(hintFor(err), mapHint(spec, err)))
	}
	if c := opts.Companion; c != nil {
		c.Spec, c.Maps = o.file.Spec, coll.Maps
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

// rejectedMap is the name in what the library says of a map that could not be created.
var rejectedMap = lazyregexp.New(`\bmap ([^ :]+): map create: `)

// mapHint says what to do about a map that the kernel takes for invalid.
func mapHint(spec *ebpf.CollectionSpec, err error) string {
	name := rejectedMap.FindStringSubmatch(err.Error())
	if name == nil || !errors.Is(err, syscall.EINVAL) && !errors.Is(err, ebpf.ErrNotSupported) || spec.Maps[name[1]] == nil {
		return ""
	}
	m := spec.Maps[name[1]]
	if m.MaxEntries == 0 && !strings.HasSuffix(m.Type.String(), "Storage") {
		return fmt.Sprintf("map %s has room for nothing: say for how much with __uint(max_entries, NUMBER)", name[1])
	}
	switch of := (&bpfmap.Map{Spec: m}); {
	case of.IsArray() && m.KeySize > 0 && m.KeySize != 4:
		return fmt.Sprintf("map %s is an array with keys of %d bytes, and an index has 4: __type(key, __u32)", name[1], m.KeySize)
	case of.HasEntries() && (m.KeySize == 0 || m.ValueSize == 0):
		return fmt.Sprintf("map %s has keys of %d bytes and values of %d: say what they are with __type(key, TYPE) and __type(value, TYPE)", name[1], m.KeySize, m.ValueSize)
	}
	return fmt.Sprintf("map %s is of type %s (%d), with keys of %d bytes, values of %d, %d entries and the flags %#x: "+
		"this kernel does not have the type, or not with these; BPF_MAP_TYPE_CGRP_STORAGE needs Linux 6.2, the others of the header 5.16",
		name[1], m.Type, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, uint32(m.Flags))
}
