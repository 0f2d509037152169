package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
)

// Module is a loaded module: its maps and global variables exist in the
// kernel, its watchers run while a [Table] has it registered. It is made by
// [Object.Load] and must be closed. Its methods may be called from any
// goroutine.
type Module struct {
	object *Object
	coll   *ebpf.Collection // maps and variables only

	mu     sync.Mutex // guards the fields below
	table  *Table     // that has it registered, or nil
	closed bool
}

// LoadOptions are the choices of [Object.Load].
type LoadOptions struct {
	// Params holds module parameters by name.
	Params map[string]string

	// Edit, if set, may change the maps and variables before they are
	// created: a built-in sizes its ring buffer here.
	Edit func(*ebpf.CollectionSpec) error

	// Maps replaces maps of the object by existing ones, which stay the
	// caller's.
	Maps map[string]*ebpf.Map
}

// Load creates the module's maps and sets its parameters. It needs CAP_BPF,
// or root.
func (o *Object) Load(opts LoadOptions) (*Module, error) {
	fail := func(err error, hint string) (*Module, error) {
		return nil, &Error{Op: "load", Module: o.Name, Err: err, Hint: hint}
	}
	spec := o.spec.Copy()
	clear(spec.Programs)
	if err := o.setParams(spec, opts.Params); err != nil {
		return fail(invalid("%w", err), "")
	}
	if opts.Edit != nil {
		if err := opts.Edit(spec); err != nil {
			return fail(err, "")
		}
	}
	// Kernels before 5.11 count maps against RLIMIT_MEMLOCK; on later ones
	// this does nothing.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fail(err, hintFor(err))
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: opts.Maps})
	if err != nil {
		return fail(fmt.Errorf("create its maps: %w", err), hintFor(err))
	}
	return &Module{object: o, coll: coll}, nil
}

// hintFor says what to do about an error of the bpf system call.
func hintFor(err error) string {
	switch {
	case errors.Is(err, syscall.EPERM):
		return "kernel modules need root, or CAP_BPF and CAP_PERFMON"
	case errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.ENOMEM):
		return "a map is too large for this machine: see max_entries and the size of its keys and values"
	}
	return ""
}

// Name returns the module's name.
func (m *Module) Name() string { return m.object.Name }

// Object returns what the module was loaded from.
func (m *Module) Object() *Object { return m.object }

// Maps returns the module's maps by name. They belong to the module and are
// valid until it is closed.
func (m *Module) Maps() map[string]*ebpf.Map { return m.coll.Maps }

// Variable returns a global variable in its native form, or nil if there is
// none of that name.
func (m *Module) Variable(name string) *ebpf.Variable { return m.coll.Variables[name] }

// Global is the present value of a module's global variable.
type Global struct {
	Name  string
	Type  string // in C
	Param bool
	Value any // int64, uint64, bool, string, []any or map[string]any; other types as hexadecimal
}

// Globals reads all global variables, sorted by name, while the module runs or
// not. The values are a snapshot of each variable, not of all together.
func (m *Module) Globals() ([]Global, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, &Error{Op: "read", Module: m.Name(), Err: ErrClosed}
	}
	var list []Global
	for name, v := range m.coll.Variables {
		spec := m.object.spec.Variables[name]
		if spec == nil || spec.Type == nil || strings.HasPrefix(spec.SectionName, ".rodata.str") {
			continue
		}
		b := make([]byte, v.Size())
		if err := v.Get(b); err != nil {
			return nil, &Error{Op: "read", Module: m.Name(), Err: fmt.Errorf("variable %s: %w", name, err)}
		}
		list = append(list, Global{name, typeName(spec.Type.Type), isParam(spec), readValue(spec.Type.Type, b)})
	}
	slices.SortFunc(list, func(a, b Global) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
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
