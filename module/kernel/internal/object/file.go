// Package object reads the object file of a module for the kernel: what its macros
// say, its maps and variables, and its functions taken apart. It makes no system call.
package object

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/module"
)

// File is what an object has. It is immutable, and may be used from any goroutine.
type File struct {
	License string
	Info    *module.Info // what its macros say
	Spec    *ebpf.CollectionSpec

	Code  link.Code
	Lists [plan.NumLists][]string // symbols of the watchers, in the order of the source
	Emits []btf.Type              // that task_watcher_emit_struct() is called with; their number is the place plus 1
}

// The sections of functions that the linker knows.
const (
	watcherSection = ".task_watchers."
	reportSection  = watcherSection + "report"
	emitSection    = watcherSection + "emit"
	labelSection   = watcherSection + "label"
)

// Parse reads the object of a module, or of a built-in. Malformed input of any kind is
// an error.
func Parse(name string, object []byte, builtin bool) (_ *File, err error) {
	defer func() {
		// The parsers of ELF and BTF have been fuzzed, and still are not
		// ours to vouch for.
		if p := recover(); p != nil {
			err = Invalid("malformed object: %v", p)
		}
	}()
	if err := module.CheckName(name); err != nil {
		return nil, Invalid("%w", err)
	}
	file, err := openELF(object)
	if err != nil {
		return nil, err
	}
	f := &File{Code: link.Code{Name: name, Builtin: builtin, Funcs: map[string]asm.Instructions{}}}
	if err := f.readInfo(file); err != nil {
		return nil, err
	}
	if f.Spec, err = ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object)); err != nil {
		return nil, Invalid("malformed object: %w", err)
	}
	if err := f.collect(file); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := f.numberTypes(); err != nil {
		return nil, err
	}
	return f, nil
}

// readInfo reads what the macros of the module say.
func (f *File) readInfo(file *elf.File) error {
	data, err := sectionData(file, ".modinfo")
	if err != nil {
		return err
	}
	if f.Info, err = module.ParseInfo(data); err != nil {
		return Invalid("section .modinfo: %w", err)
	}
	if err := f.Info.CheckAPI(); err != nil {
		return Invalid("%w", err)
	}
	f.Code.Veto = f.Info.Veto
	license, err := sectionData(file, "license")
	if err != nil {
		return err
	}
	f.License = string(bytes.TrimRight(license, "\x00"))
	return CheckLicense(f.License)
}

// collect finds the watchers, in the order of the source, and takes all
// functions apart.
func (f *File) collect(file *elf.File) error {
	symbols, err := file.Symbols()
	if err != nil {
		return Invalid("symbols: %w", err)
	}
	if err := checkAddresses(file, symbols); err != nil {
		return err
	}
	place := map[string]uint64{}
	for _, s := range symbols {
		place[s.Name] = s.Value
	}
	progs := slices.SortedFunc(maps.Values(f.Spec.Programs), func(a, b *ebpf.ProgramSpec) int {
		return cmp.Or(cmp.Compare(a.SectionName, b.SectionName),
			cmp.Compare(place[a.Name], place[b.Name]), cmp.Compare(a.Name, b.Name))
	})
	for _, p := range progs {
		if f.Code.Builtin && !strings.HasPrefix(p.SectionName, watcherSection) {
			continue // its caller's
		}
		if err := f.list(p); err != nil {
			return err
		}
		if err := f.takeApart(p.Instructions); err != nil {
			return err
		}
	}
	if len(f.Code.Funcs) == 0 {
		return errNoWatchers
	}
	for _, k := range f.Info.Veto.List() {
		if len(f.Lists[k]) == 0 && (k != taskwatch.Exec || len(f.Lists[plan.Step]) == 0) {
			return Invalid("MODULE_VETO(%s): it has no watcher on %s", k, k)
		}
	}
	return nil
}

// list notes what the function of a program is for.
func (f *File) list(p *ebpf.ProgramSpec) error {
	event, ours := strings.CutPrefix(p.SectionName, watcherSection)
	switch {
	case !ours:
		return Invalid("section %s holds a program that is not a watcher; a module has only watchers (task_watcher_func)", p.SectionName)
	case f.Code.Builtin && p.SectionName == reportSection:
		return only(&f.Code.Report, p.Name, "report")
	case f.Code.Builtin && p.SectionName == emitSection:
		return only(&f.Code.Emit, p.Name, "emit")
	case !f.Code.Builtin && p.SectionName == labelSection:
		return only(&f.Code.Label, p.Name, "label")
	}
	e, err := plan.ParseList(event)
	if err != nil {
		return Invalid("section %s: %w", p.SectionName, err)
	}
	if of, _, ok := link.SplitSymbol(p.Name); !ok || of != e {
		return Invalid("section %s: function %s was not made by task_watcher_func(%s, ...)", p.SectionName, p.Name, event)
	}
	f.Lists[e] = append(f.Lists[e], p.Name)
	return nil
}

// only sets what an object may have one of.
func only(function *string, name, what string) error {
	if *function != "" {
		return Invalid("two %s functions: %s and %s", what, *function, name)
	}
	*function = name
	return nil
}

// takeApart splits the instructions of a program, which the ELF reader has
// joined with everything it calls, into functions.
func (f *File) takeApart(insns asm.Instructions) error {
	start := 0
	for i := 1; i <= len(insns); i++ {
		if i < len(insns) && btf.FuncMetadata(&insns[i]) == nil {
			continue
		}
		body := insns[start:i]
		name := body[0].Symbol()
		if name == "" || btf.FuncMetadata(&body[0]) == nil {
			return Invalid("function %q has no BTF type information: compile with -g", name)
		}
		f.Code.Funcs[name] = body
		start = i
	}
	return nil
}

// Visits reports whether the module is called for tasks that exist.
func (f *File) Visits() bool { return len(f.Lists[plan.Attach])+len(f.Lists[plan.Detach]) > 0 }

// Marks reports whether it has to be known what a module was told of each task.
func (f *File) Marks() bool { return f.Visits() && !f.Info.AttachAtLeastOnce }

// NumWatchers is how many functions all lists have together.
func (f *File) NumWatchers() (n int) {
	for _, list := range f.Lists {
		n += len(list)
	}
	return n
}

// Invalid returns an error of a malformed or unacceptable object.
func Invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", taskwatch.ErrInvalid, fmt.Errorf(format, args...))
}
