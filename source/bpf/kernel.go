package bpf

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/companion"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// half is the half of the source that is loaded into the kernel.
type half struct {
	table   *kernel.Table
	module  *kernel.Module // the stream, a built-in of table
	support *kernel.Support
	beside  companion.Programs // that are not the table's
	ring    *sys.RingBuffer
	control *sys.SharedWords
	sysExit *ebpf.Program // on_sys_exit; nil for a command until it is needed
	syscall link.Link     // while it is attached
	failed  link.Link     // on_exec_exit, likewise
	before  link.Link     // on_prepare_exec or on_exec_enter, likewise
	iter    *link.Iter    // likewise
	ownExit link.Link     // on_own_exit, for a command, or nil
	mkdir   link.Link     // on_cgroup_mkdir, for a cgroup, or nil
	signals signals

	command  bool            // the tree of a command is watched
	tree     bool            // or that of a process
	cgroup   uint64          // the id of Config.Cgroup, as of New
	gathered taskwatch.Kinds // what is attached for
	attached taskwatch.Kinds // of it, by the table
	instead  bool            // on_sys_exit stands in for tracepoints that cannot be attached to
	wanted   uint32          // the groups of fields
	never    uint32          // those that the programs leave out
	follow   taskwatch.Kinds // gathered to see which tasks are chosen
	choices  map[choice]bool // by what
}

func wantedOf(fields taskwatch.Fields) (groups uint32) {
	for _, g := range gathered {
		if fields&g.fields != 0 {
			groups |= g.group
		}
	}
	return groups
}

// optionalGroups are those that a record of their own, or more code in the kernel,
// gathers.
const optionalGroups = wantExtra | wantHost | wantEnv | wantGained | wantLabel

// probe finds out what the kernel supports.
var probe = kernel.Probe

// loadHalf loads everything and attaches nothing.
func loadHalf(cfg *Config) (_ *half, err error) {
	k := &half{command: cfg.Command != nil, tree: cfg.scope() == scopeTree}
	if cfg.Cgroup != "" {
		if k.cgroup, err = cgroupID(cfg.Cgroup); err != nil {
			return nil, err
		}
	}
	if cfg.FieldsSettled {
		k.never = optionalGroups
	}
	if err = k.makeTable(cfg); err == nil {
		err = k.loadPrograms(cfg)
	}
	if err != nil {
		return nil, errors.Join(explain(err), k.close())
	}
	k.control.Store64(controlCgroup, k.cgroup)
	return k, nil
}

// makeTable makes the table, with the stream as its built-in.
func (k *half) makeTable(cfg *Config) error {
	var (
		object *kernel.Object
		ring   *ebpf.Map
	)
	err := sideBySide([]func() error{
		func() (err error) { k.support, err = probe(); return err },
		func() (err error) { object, err = kernel.ParseBuiltin("stream", streamObject()); return err },
		func() error { ring = makeRing(cfg); return nil },
	})
	if ring != nil {
		defer ring.Close()
		k.beside.Made = map[string]*ebpf.Map{streamMapRing: ring}
	}
	if err != nil {
		return err
	}
	k.support.Share(&k.beside)
	k.beside.Edit = func(spec *ebpf.CollectionSpec) error { return k.edit(spec, cfg) }
	if k.module, err = object.Load(kernel.LoadOptions{Companion: &k.beside}); err != nil {
		return err
	}
	k.table, err = kernel.NewTable(kernel.Config{
		Support: k.support, DryRun: cfg.DryRun, CallStats: cfg.CallStats, Builtins: []kernel.Builtin{{Module: k.module}},
	})
	return err
}

// edit settles what the programs are for, before they are loaded.
func (k *half) edit(spec *ebpf.CollectionSpec, cfg *Config) error {
	spec.Maps[streamMapRing].MaxEntries = uint32(cfg.BufferSize)
	for _, m := range spec.Maps {
		if m.Type != ebpf.TaskStorage { // the only ones for which the kernel asks to be told the types
			m.Key, m.Value = nil, nil
		}
	}
	if err := setNumberType(spec, k.beside.Types); err != nil {
		return err
	}
	return setVariables(spec, cfg, k)
}

// loadPrograms has the verifier look at all programs at once, which takes its time.
func (k *half) loadPrograms(cfg *Config) error {
	steps := []func() error{
		func() error { return k.table.CheckKinds(k.module, k.checked()) },
		func() error { return k.open(cfg) },
	}
	if k.command {
		steps = append(steps,
			k.hold,
			func() error { k.signals.open(k.load); return nil })
		if k.bySyscall() {
			steps = append(steps, k.loadSysExit) // most commands need it, and later they would wait for it
		}
	} else {
		steps = append(steps, k.loadIter, k.loadSysExit)
	}
	if cfg.Cgroup != "" {
		steps = append(steps, k.followCgroup)
	}
	return sideBySide(steps)
}

// makeRing makes the ring buffer, which has the kernel clear some megabytes. Where
// that fails, the module makes it, and has the error.
func makeRing(cfg *Config) *ebpf.Map {
	ring, err := ebpf.NewMap(&ebpf.MapSpec{Name: streamMapRing, Type: ebpf.RingBuf, MaxEntries: uint32(cfg.BufferSize)})
	if err != nil {
		return nil
	}
	return ring
}

// sideBySide does all steps at the same time, the first in this goroutine, and
// returns their errors.
func sideBySide(steps []func() error) error {
	errs := make([]error, len(steps))
	var wg sync.WaitGroup
	for i, step := range steps[1:] {
		wg.Go(func() { errs[1+i] = step() })
	}
	errs[0] = steps[0]()
	wg.Wait()
	return errors.Join(errs...)
}

// checked returns the kinds that the table is likely to be listed under: without
// init where clone stands for it, and for a command without those that
// on_sys_exit tells of. A program that is for one kind too many would be loaded
// twice.
func (k *half) checked() taskwatch.Kinds {
	kinds := taskwatch.AllKinds
	if !k.initIsEarly() {
		kinds &^= taskwatch.KindsOf(taskwatch.Init)
	}
	if k.command && k.bySyscall() {
		kinds &^= idKinds
	}
	return kinds
}

func (k *half) open(cfg *Config) (err error) {
	if k.ring, err = sys.MapRingBuffer(k.beside.Maps[streamMapRing].FD(), cfg.BufferSize); err != nil {
		return err
	}
	k.control, err = sys.MapSharedWords(k.beside.Maps[".bss"].FD())
	return err
}

// losses returns, by kind and CPU, how many records found no room.
func (k *half) losses() (n [numRecordKinds][]uint64, err error) {
	for kind := range n {
		if err := k.beside.Maps[streamMapLosses].Lookup(uint32(kind), &n[kind]); err != nil {
			return n, fmt.Errorf("bpf: read the loss counters: %w", err)
		}
	}
	return n, nil
}

// detach takes the stream off its hooks; what it has sent stays readable.
func (k *half) detach() error {
	return errors.Join(k.table.SetKinds(k.module, 0), k.watchSyscalls(false))
}

func (k *half) close() error {
	// What is detached may be waited for by the kernel: all at once.
	steps := []func() error{k.signals.close}
	for _, l := range []link.Link{k.syscall, k.failed, k.before, k.ownExit, k.mkdir} {
		if l != nil {
			steps = append(steps, l.Close)
		}
	}
	if k.table != nil {
		steps = append(steps, k.table.Close)
	}
	errs := []error{sideBySide(steps)}
	if k.iter != nil {
		errs = append(errs, k.iter.Close())
	}
	if k.control != nil {
		errs = append(errs, k.control.Close())
	}
	if k.ring != nil {
		errs = append(errs, k.ring.Close())
	}
	if k.sysExit != nil {
		errs = append(errs, k.sysExit.Close())
	}
	if k.module != nil {
		errs = append(errs, k.module.Close())
	}
	return errors.Join(errs...)
}
