package wasm

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/custom"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
	"github.com/taskwatch/taskwatch/module/wasm/rewrite"
)

// Object is a parsed and compiled module file: the blueprint of a [Module]. It
// may be loaded several times, from any goroutine, and must be closed.
type Object struct {
	// Name is the module's name, as given to [Parse].
	Name string

	License     string // "" if it says nothing: the sandbox links nothing that asks for one
	Description string
	Author      string
	Version     string

	// Veto holds the events that the module wants to be able to deny.
	Veto taskwatch.Kinds

	// Reads holds the optional fields of events that the module reads, Unread the default
	// ones that it does without, and ParentExe says that it reads the program of the
	// task's parent. What it does not read is not gathered for it.
	Reads     taskwatch.Fields
	Unread    taskwatch.Fields
	ParentExe bool

	// Watchers holds the names of the module's functions, in the order in
	// which they are called: by kind, and those of attach and detach. Execed holds
	// those that are called after an exec that has succeeded.
	Watchers [taskwatch.NumLists][]string
	Execed   []string

	readNames []string

	binary *rewrite.Module
	code   []byte // instrumented
	vars   []variable
	params []module.Param

	storages []storage
	types    described // of what is in C

	cache wazero.CompilationCache

	mu   sync.Mutex // guards uses
	uses int        // itself, and each module loaded from it; then the cache is closed
	dead bool       // closed
}

// What a module exports.
const (
	exportMemory  = "memory"
	exportABI     = "__task_watchers_abi"
	exportInfo    = "__task_watchers_info"
	exportVars    = "__task_watchers_vars"
	exportTask    = "__task_watchers_task"
	exportMaps    = "__task_watchers_maps"
	exportMap     = "__task_watchers_map"
	watcherPrefix = "__task_watcher_" // ev_fn
)

const (
	watcherType    rewrite.FuncType = "I,i>i"
	maxWatchers                     = 256
	maxWatcherName                  = 128
	maxInfo                         = 64 << 10
)

// Parse reads a module from the bytes of a WebAssembly file, compiles it, and
// runs its initialisation once, in the sandbox, to ask it what it is. The name
// is what the module is known by: 1 to 32 letters, digits, '_' and '-'. It
// needs no privileges; what is wrong with the file, of any kind, is an
// [*Error].
func Parse(name string, code []byte) (*Object, error) {
	return (&Parser{}).Parse(name, code)
}

func (o *Object) parse(p *Parser, code []byte) (err error) {
	if err := module.CheckName(o.Name); err != nil {
		return invalid("%w", err)
	}
	if o.binary, err = rewrite.Parse(code); err != nil {
		return err
	}
	if err := o.checkImports(); err != nil {
		return err
	}
	if err := o.checkExports(); err != nil {
		return err
	}
	if o.code, err = o.binary.Instrument(); err != nil {
		return err
	}
	o.types = readTypes(custom.Sections(code)[cvalue.TypesSection])
	if o.cache, err = p.open(o.code); err != nil {
		return err
	}
	s, err := newSandbox(o, max(DefaultMemory, min(maxMemory, int64(o.binary.Memory.Min)*pageSize)), DefaultDeadline)
	if err != nil {
		return err
	}
	return errors.Join(o.ask(s), s.close())
}

func (o *Object) checkImports() error {
	for _, imp := range o.binary.Imports {
		switch imp.Module {
		case hostModule:
			want, ok := hostFuncs[imp.Name]
			if !ok {
				return invalid("it imports %s.%s, which the sandbox does not have", imp.Module, imp.Name)
			}
			if imp.Type != want {
				return invalid("it imports %s.%s as %s, but its type is %s", imp.Module, imp.Name, imp.Type, want)
			}
		case wasiModule:
			if err := checkWASI(&imp); err != nil {
				return err
			}
		default:
			return hinted{invalid("it imports %s.%s, which the sandbox does not have", imp.Module, imp.Name),
				"a module may import from " + hostModule + " and " + wasiModule}
		}
	}
	return nil
}

func (o *Object) checkExports() error {
	m := o.binary
	if _, ok := m.Export("_start"); ok {
		return hinted{invalid("it is a program with a _start, and not a module with watchers"),
			"build it as a reactor (clang: --no-entry, Go: -buildmode=c-shared), or with 'taskwatch module build'"}
	}
	if e, ok := m.Export(exportMemory); !ok || e.Kind != rewrite.ExternMemory || m.Memories != 1 {
		return invalid("it does not export its memory under the name %s", exportMemory)
	}
	for _, f := range []struct {
		name     string
		typ      rewrite.FuncType
		optional bool
	}{
		{exportABI, ">i", false},
		{exportInfo, ">I", false},
		{exportVars, ">I", true},
		{exportTask, "i>i", false},
		{exportMaps, ">I", true},
		{exportMap, "i,i,I,I>i", true},
		{"_initialize", ">", true},
	} {
		e, ok := m.Export(f.name)
		if !ok && f.optional {
			continue
		}
		if !ok {
			return hinted{invalid("it does not export %s", f.name), "build it with 'taskwatch module build', against task_watchers.h or the package guest"}
		}
		if err := checkType(m, e, f.typ); err != nil {
			return err
		}
	}
	return o.collect()
}

func checkType(m *rewrite.Module, e rewrite.Export, want rewrite.FuncType) error {
	typ, err := m.TypeOf(e)
	if err != nil {
		return err
	}
	if typ != want {
		return invalid("its function %s has the type %s, but must have %s", e.Name, typ, want)
	}
	return nil
}

// collect finds the watchers, in the order of the exports.
func (o *Object) collect() error {
	n := 0
	for _, e := range o.binary.Exports {
		rest, ok := strings.CutPrefix(e.Name, watcherPrefix)
		if !ok {
			continue
		}
		event, fn, _ := strings.Cut(rest, "_")
		l, err := parseList(event)
		if err != nil {
			return invalid("its function %s: %w", e.Name, err)
		}
		if fn == "" || len(fn) > maxWatcherName {
			return invalid("its function %s: the name of a watcher is %s%s_NAME, with a NAME of 1 to %d bytes", e.Name, watcherPrefix, event, maxWatcherName)
		}
		if strings.TrimFunc(fn, func(r rune) bool { return r > ' ' && r < 0x7f }) != "" {
			return invalid("its function %q: the name of a watcher is printable ASCII, without spaces", e.Name)
		}
		if err := checkType(o.binary, e, watcherType); err != nil {
			return err
		}
		if n++; n > maxWatchers {
			return invalid("it has more than %d watchers", maxWatchers)
		}
		fns := o.list(l)
		*fns = append(*fns, fn)
	}
	if n == 0 {
		return invalid("it has no watchers: it exports no function %sEVENT_NAME", watcherPrefix)
	}
	return nil
}

// ask has the module say what it is.
func (o *Object) ask(s *sandbox) error {
	inst, err := s.instantiate(o, nil)
	if err != nil {
		return err
	}
	defer inst.mod.Close(background)
	at, err := s.call(inst, exportInfo)
	if err != nil {
		return err
	}
	address, n := uint32(at>>32), uint32(at)
	if n > maxInfo {
		return invalid("%s: it returns %d bytes, but may return only %d", exportInfo, n, maxInfo)
	}
	b, ok := inst.memory.Read(address, n)
	if !ok {
		return invalid("%s: it returns a text that is not in its memory", exportInfo)
	}
	info, err := module.ParseInfo(b)
	if err != nil {
		return invalid("%s: %w", exportInfo, err)
	}
	o.License, o.Description, o.Author, o.Version, o.Veto = info.License, info.Description, info.Author, info.Version, info.Veto
	o.Reads, o.Unread, o.ParentExe = info.Reads&taskwatch.OptionalFields, info.Unread(), info.ParentExe
	o.readNames = info.ReadNames()
	for _, k := range o.Veto.List() {
		if len(o.Watchers[k]) == 0 {
			return invalid("MODULE_VETO(%s): it has no watcher on %s", k, k)
		}
	}
	if at, err = s.call(inst, exportVars); err != nil {
		return err
	}
	if o.vars, err = decodeVars(inst.memory.Read, uint32(at>>32), uint32(at)); err != nil {
		return err
	}
	for _, v := range o.vars {
		if !v.param {
			continue
		}
		b, _ := inst.memory.Read(v.address, v.size()) // decodeVars has looked
		o.params = append(o.params, module.Param{
			Name: v.name, Type: v.typeName(), Default: v.value(b), Description: cmp.Or(v.description, info.Params[v.name]),
		})
	}
	slices.SortFunc(o.params, func(a, b module.Param) int { return cmp.Compare(a.Name, b.Name) })
	o.params = module.FoldParams(o.params)
	if at, err = s.call(inst, exportMaps); err != nil {
		return err
	}
	if o.storages, err = decodeStorages(inst.memory.Read, uint32(at>>32), uint32(at), o.types); err != nil {
		return err
	}
	if len(o.storages) > 0 && inst.storages == nil {
		return invalid("it exports %s, but not %s", exportMaps, exportMap)
	}
	return nil
}

// Kinds returns the events that the module watches.
func (o *Object) Kinds() taskwatch.Kinds {
	s := module.KindsOf(o.Watchers[:])
	if len(o.Execed) > 0 {
		s |= taskwatch.KindsOf(taskwatch.Exec)
	}
	return s
}

// ReadNames returns the names of what the module says that it reads.
func (o *Object) ReadNames() []string { return slices.Clone(o.readNames) }

// Params lists the parameters by name.
func (o *Object) Params() []module.Param { return slices.Clone(o.params) }

// Memory returns how many bytes of memory the module begins with.
func (o *Object) Memory() int64 { return int64(o.binary.Memory.Min) * pageSize }

// use keeps the compiled code alive until unuse.
func (o *Object) use() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dead {
		return ErrClosed
	}
	o.uses++
	return nil
}

func (o *Object) unuse() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.uses--; o.uses > 0 {
		return nil
	}
	return o.cache.Close(background)
}

// Close frees the compiled code, once the modules loaded from it are closed
// too. Closing twice is harmless.
func (o *Object) Close() error {
	o.mu.Lock()
	dead := o.dead
	o.dead = true
	o.mu.Unlock()
	if dead {
		return nil
	}
	if err := o.unuse(); err != nil {
		return failure("close", o.Name, err)
	}
	return nil
}

// MaxModuleSize is how many bytes a module's file may have.
const MaxModuleSize = rewrite.MaxSize

// IsModule reports whether b begins like a WebAssembly module, of any
// version.
func IsModule(b []byte) bool { return rewrite.IsModule(b) }
