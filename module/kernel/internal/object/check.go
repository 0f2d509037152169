package object

import (
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// check rejects what a table could not link, or could not take out again.
func (f *File) check() error {
	for _, check := range []func() error{f.checkNames, f.checkAttach, f.checkFunctions, f.checkMaps} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkNames rejects names that do not print: compilers make none, and they
// would stand in tables, logs and metrics.
func (f *File) checkNames() error {
	names := slices.Concat(slices.Collect(maps.Keys(f.Spec.Variables)), slices.Collect(maps.Keys(f.Spec.Maps)), slices.Collect(maps.Keys(f.Info.Params)),
		slices.Collect(maps.Keys(f.Code.Funcs)))
	for _, name := range names {
		if !clean.Prints(name) || strings.Contains(name, " ") {
			return Invalid("the name %q: names are of printable characters, without spaces", name)
		}
	}
	return nil
}

func (f *File) checkAttach() error {
	const macro = "MODULE_ATTACH_AT_LEAST_ONCE"
	switch {
	case !f.Info.AttachAtLeastOnce:
		return nil
	case len(f.Lists[plan.Detach]) > 0:
		return Invalid("it has %s and watchers of detach, for which it has to be known what each task has met: leave one of them out", macro)
	case len(f.Lists[plan.Attach]) == 0:
		return Invalid("it has %s and no watcher of attach: leave it out", macro)
	}
	return nil
}

func (f *File) checkFunctions() error {
	for _, name := range slices.Sorted(maps.Keys(f.Code.Funcs)) {
		for i := range f.Code.Funcs[name] {
			ins := &f.Code.Funcs[name][i]
			ref := ins.Reference()
			switch {
			case ins.OpCode.JumpOp() == asm.Call && ins.OpCode.Source() == asm.RegSource:
				return Invalid("%s calls a function by a pointer: call it by its name, after a switch if there are several", link.InWords(name))
			case ins.IsFunctionReference() && !link.IsEmit(ref) && f.Code.Funcs[ref] == nil:
				return Invalid("%s calls %s, which is not defined", link.InWords(name), ref)
			case ins.IsLoadFromMap() && ref != "" && f.Spec.Maps[ref] == nil:
				return Invalid("%s refers to %s, which is not a map of the object", link.InWords(name), ref)
			}
			if err := f.checkPowers(name, ins); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *File) checkMaps() error {
	for name, m := range f.Spec.Maps {
		if m.Pinning != ebpf.PinNone {
			return Invalid("map %s is to be pinned: nothing of a module may outlive it", name)
		}
		if m.Type == ebpf.ProgramArray && !f.Code.Builtin {
			return Invalid("map %s is an array of programs, which watchers cannot call", name)
		}
		if uint64(m.ValueSize) > maxDataSize {
			return Invalid("map %s: values of %d bytes are too large", name, m.ValueSize)
		}
	}
	for _, name := range f.Info.Shared {
		if f.Spec.Maps[name] == nil || isVariables(name) {
			return Invalid("MODULE_SHARED(%s): it is not a map of the object", name)
		}
	}
	return nil
}
