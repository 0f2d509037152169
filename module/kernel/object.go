package kernel

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/module"
)

// Limits on what is read. They are far above what a watcher needs, and keep a
// hostile object from costing memory before the kernel has seen it.
const (
	MaxObjectSize = 16 << 20 // bytes of a file
	maxDataSize   = 16 << 20 // bytes of all global variables
)

// Object is a parsed module file: the blueprint of a [Module]. It is
// immutable and may be loaded several times, from any goroutine.
type Object struct {
	// Name is the module's name, as given to [Parse].
	Name string

	License     string
	Description string
	Author      string
	Version     string

	// Veto holds the events that the module wants to be able to refuse.
	Veto taskwatch.Kinds

	// Powers are what it asks for beyond that: see module.Powers.
	Powers []string

	// Shared are the maps that it has together with other modules.
	Shared []string

	// Watchers holds the names of the module's functions, in the order in
	// which they are called. [Object.Entries] has those that are called at no
	// event.
	Watchers [taskwatch.NumKinds][]string

	spec  *ebpf.CollectionSpec
	parms map[string]string // parameter descriptions

	anyAttach bool // MODULE_ATTACH_AT_LEAST_ONCE

	code  link.Code
	lists [plan.NumEntries][]string // symbols of the watchers
	emits []btf.Type                // that task_watcher_emit_struct() is called with; their number is the place plus 1
}

// The sections of functions that the linker knows.
const (
	watcherSection = ".task_watchers."
	reportSection  = watcherSection + "report"
	emitSection    = watcherSection + "emit"
	labelSection   = watcherSection + "label"
)

// Parse reads a module from the bytes of a BPF object file. The name is what
// the module is known by: 1 to 32 letters, digits, '_' and '-'. It runs no
// system call and needs no privileges; malformed input of any kind is an
// [*Error].
func Parse(name string, object []byte) (*Object, error) {
	return parse(name, object, false)
}

// ParseBuiltin reads a built-in. It differs from a module in that its object
// may also define the functions report and emit, and programs of other types,
// which are left to the caller ([Object.Spec]).
func ParseBuiltin(name string, object []byte) (*Object, error) {
	return parse(name, object, true)
}

func parse(name string, object []byte, builtin bool) (_ *Object, err error) {
	defer func() {
		// The parsers of ELF and BTF have been fuzzed, and still are not
		// ours to vouch for.
		if p := recover(); p != nil {
			err = invalid("malformed object: %v", p)
		}
		if err != nil {
			err = &Error{Op: "parse", Module: name, Err: err}
		}
	}()
	if err := module.CheckName(name); err != nil {
		return nil, invalid("%w", err)
	}
	file, err := openELF(object)
	if err != nil {
		return nil, err
	}
	data, err := sectionData(file, ".modinfo")
	if err != nil {
		return nil, err
	}
	info, err := module.ParseInfo(data)
	if err != nil {
		return nil, invalid("section .modinfo: %w", err)
	}
	if err := info.CheckAPI(); err != nil {
		return nil, invalid("%w", err)
	}
	license, err := sectionData(file, "license")
	if err != nil {
		return nil, err
	}
	o := &Object{
		Name:        name,
		License:     string(bytes.TrimRight(license, "\x00")),
		Description: info.Description, Author: info.Author, Version: info.Version,
		Veto: info.Veto, Powers: info.Powers, Shared: info.Shared, parms: info.Params,
		anyAttach: info.AttachAtLeastOnce,
		code:      link.Code{Name: name, Builtin: builtin, Veto: info.Veto, Funcs: map[string]asm.Instructions{}},
	}
	if err := checkLicense(o.License); err != nil {
		return nil, err
	}
	o.spec, err = ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
	if err != nil {
		return nil, invalid("malformed object: %w", err)
	}
	if err := o.collect(file); err != nil {
		return nil, err
	}
	if err := o.checkNames(); err != nil {
		return nil, err
	}
	if err := o.checkAttach(); err != nil {
		return nil, err
	}
	if err := o.checkFunctions(); err != nil {
		return nil, err
	}
	if err := o.checkMaps(); err != nil {
		return nil, err
	}
	if err := o.numberTypes(); err != nil {
		return nil, err
	}
	return o, nil
}

// openELF checks that the bytes are what this machine's kernel could load at
// all, so that the usual mistakes get a plain answer.
func openELF(object []byte) (*elf.File, error) {
	const fix = "build it with 'taskwatch module build'"
	if len(object) > MaxObjectSize {
		return nil, invalid("it has %d bytes, and a module may have %d", len(object), MaxObjectSize)
	}
	if !bytes.HasPrefix(object, []byte(elf.ELFMAG)) {
		return nil, invalid("it is not an ELF object; %s", fix)
	}
	file, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, invalid("truncated or malformed ELF object: %w", err)
	}
	if file.Machine != elf.EM_BPF {
		return nil, invalid("it was compiled for %v, not for BPF; %s", file.Machine, fix)
	}
	if file.Type != elf.ET_REL {
		return nil, invalid("it is an ELF file of type %v, not a relocatable object; %s", file.Type, fix)
	}
	if file.Class != elf.ELFCLASS64 {
		return nil, invalid("it is an ELF object of %v, not ELFCLASS64; %s", file.Class, fix)
	}
	if file.ByteOrder.Uint16([]byte{1, 0}) != binary.NativeEndian.Uint16([]byte{1, 0}) {
		return nil, invalid("its byte order (%v) is not this machine's; %s on a machine like this one", file.ByteOrder, fix)
	}
	var data uint64
	for _, s := range file.Sections {
		if s.Flags&elf.SHF_COMPRESSED != 0 && !strings.HasPrefix(s.Name, ".debug") {
			return nil, invalid("section %s is compressed; %s", s.Name, fix)
		}
		if s.Type != elf.SHT_NOBITS {
			if s.Size > uint64(len(object)) {
				return nil, invalid("truncated ELF object: section %s has %d bytes, the file %d", s.Name, s.Size, len(object))
			}
			continue
		}
		if data += s.Size; s.Size > maxDataSize || data > maxDataSize {
			return nil, invalid("section %s has %d bytes of global variables, and a module may have %d: use a map", s.Name, s.Size, maxDataSize)
		}
	}
	if !slices.ContainsFunc(file.Sections, func(s *elf.Section) bool { return s.Flags&elf.SHF_EXECINSTR != 0 && s.Size > 0 }) {
		return nil, errNoWatchers
	}
	if file.Section(".BTF") == nil || file.Section(".BTF.ext") == nil {
		return nil, invalid("it has no BTF type information: compile with -g and do not strip it; %s", fix)
	}
	return file, nil
}

var errNoWatchers = invalid("it has no watchers: use task_watcher_func(event, function)")

// sectionData returns what the section holds, or nil where there is none.
func sectionData(file *elf.File, name string) ([]byte, error) {
	s := file.Section(name)
	if s == nil || s.Type == elf.SHT_NOBITS {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(s.Open(), MaxObjectSize))
	if err != nil {
		return nil, invalid("section %s: %w", name, err)
	}
	return data, nil
}

// collect finds the watchers, in the order of the source, and takes all
// functions apart.
func (o *Object) collect(file *elf.File) error {
	symbols, err := file.Symbols()
	if err != nil {
		return invalid("symbols: %w", err)
	}
	place := map[string]uint64{}
	for _, s := range symbols {
		place[s.Name] = s.Value
	}
	progs := slices.SortedFunc(maps.Values(o.spec.Programs), func(a, b *ebpf.ProgramSpec) int {
		return cmp.Or(cmp.Compare(a.SectionName, b.SectionName),
			cmp.Compare(place[a.Name], place[b.Name]), cmp.Compare(a.Name, b.Name))
	})
	any := false
	for _, p := range progs {
		event, ours := strings.CutPrefix(p.SectionName, watcherSection)
		switch {
		case !ours && o.code.Builtin:
			continue
		case !ours:
			return invalid("section %s holds a program that is not a watcher; a module has only watchers (task_watcher_func)", p.SectionName)
		case o.code.Builtin && p.SectionName == reportSection:
			if o.code.Report != "" {
				return invalid("two report functions: %s and %s", o.code.Report, p.Name)
			}
			o.code.Report = p.Name
		case o.code.Builtin && p.SectionName == emitSection:
			if o.code.Emit != "" {
				return invalid("two emit functions: %s and %s", o.code.Emit, p.Name)
			}
			o.code.Emit = p.Name
		case !o.code.Builtin && p.SectionName == labelSection:
			if o.code.Label != "" {
				return invalid("two label functions: %s and %s", o.code.Label, p.Name)
			}
			o.code.Label = p.Name
		default:
			e, err := plan.ParseEntry(event)
			if err != nil {
				return invalid("section %s: %w", p.SectionName, err)
			}
			of, fn, ok := link.SplitSymbol(p.Name)
			if !ok || of != e {
				return invalid("section %s: function %s was not made by task_watcher_func(%s, ...)", p.SectionName, p.Name, event)
			}
			o.lists[e] = append(o.lists[e], p.Name)
			if k, ok := e.Kind(); ok {
				o.Watchers[k] = append(o.Watchers[k], fn)
			}
		}
		any = true
		if err := o.takeApart(p.Instructions); err != nil {
			return err
		}
	}
	if !any {
		return errNoWatchers
	}
	for _, k := range o.Veto.List() {
		if len(o.lists[k]) == 0 && (k != taskwatch.Exec || len(o.lists[plan.Step]) == 0) {
			return invalid("MODULE_VETO(%s): it has no watcher on %s", k, k)
		}
	}
	return nil
}

// checkNames refuses names that do not print: compilers make none, and they
// would stand in tables, logs and metrics.
func (o *Object) checkNames() error {
	names := slices.Concat(slices.Collect(maps.Keys(o.spec.Variables)), slices.Collect(maps.Keys(o.spec.Maps)), slices.Collect(maps.Keys(o.parms)),
		slices.Collect(maps.Keys(o.code.Funcs)))
	for _, name := range names {
		if !clean.Prints(name) || strings.Contains(name, " ") {
			return invalid("the name %q: names are of printable characters, without spaces", name)
		}
	}
	return nil
}

// takeApart splits the instructions of a program, which the ELF reader has
// joined with everything it calls, into functions.
func (o *Object) takeApart(insns asm.Instructions) error {
	start := 0
	for i := 1; i <= len(insns); i++ {
		if i < len(insns) && btf.FuncMetadata(&insns[i]) == nil {
			continue
		}
		body := insns[start:i]
		name := body[0].Symbol()
		if name == "" || btf.FuncMetadata(&body[0]) == nil {
			return invalid("function %q has no BTF type information: compile with -g", name)
		}
		o.code.Funcs[name] = body
		start = i
	}
	return nil
}

// checkFunctions refuses what a table could not link, or could not take out
// again.
func (o *Object) checkFunctions() error {
	for _, name := range slices.Sorted(maps.Keys(o.code.Funcs)) {
		for i := range o.code.Funcs[name] {
			ins := &o.code.Funcs[name][i]
			ref := ins.Reference()
			switch {
			case ins.IsFunctionReference() && !link.IsEmit(ref) && o.code.Funcs[ref] == nil:
				return invalid("%s calls %s, which is not defined", link.InWords(name), ref)
			case ins.IsLoadFromMap() && ref != "" && o.spec.Maps[ref] == nil:
				return invalid("%s refers to %s, which is not a map of the object", link.InWords(name), ref)
			}
			if err := o.checkPowers(name, ins); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Object) checkMaps() error {
	for name, m := range o.spec.Maps {
		if m.Pinning != ebpf.PinNone {
			return invalid("map %s is to be pinned: nothing of a module may outlive it", name)
		}
		if m.Type == ebpf.ProgramArray && !o.code.Builtin {
			return invalid("map %s is an array of programs, which watchers cannot call", name)
		}
		if uint64(m.ValueSize) > maxDataSize {
			return invalid("map %s: values of %d bytes are too large", name, m.ValueSize)
		}
	}
	for _, name := range o.Shared {
		if o.spec.Maps[name] == nil || strings.HasPrefix(name, ".") {
			return invalid("MODULE_SHARED(%s): it is not a map of the object", name)
		}
	}
	return nil
}

// Kinds returns the events that the module watches.
func (o *Object) Kinds() taskwatch.Kinds { return module.KindsOf(o.Watchers[:]) }

// visits reports whether the module is called for tasks that exist.
func (o *Object) visits() bool { return len(o.lists[plan.Attach])+len(o.lists[plan.Detach]) > 0 }

// marks reports whether it has to be known what a module was told of each task.
func (o *Object) marks() bool { return o.visits() && !o.anyAttach }

func (o *Object) checkAttach() error {
	const macro = "MODULE_ATTACH_AT_LEAST_ONCE"
	switch {
	case !o.anyAttach:
		return nil
	case len(o.lists[plan.Detach]) > 0:
		return invalid("it has %s and watchers of detach, for which it has to be known what each task has met: leave one of them out", macro)
	case len(o.lists[plan.Attach]) == 0:
		return invalid("it has %s and no watcher of attach: leave it out", macro)
	}
	return nil
}

func (o *Object) numWatchers() (n int) {
	for _, list := range o.lists {
		n += len(list)
	}
	return n
}
