package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/companion"
	"github.com/taskwatch/taskwatch/internal/procfs"
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
	var cgroup uint64
	if cfg.Cgroup != "" {
		if cgroup, err = cgroupID(cfg.Cgroup); err != nil {
			return nil, err
		}
	}
	k := &half{command: cfg.Command != nil, tree: cfg.scope() == scopeTree}
	if cfg.FieldsSettled {
		k.never = optionalGroups
	}
	k.beside.Edit = func(spec *ebpf.CollectionSpec) error {
		spec.Maps[streamMapRing].MaxEntries = uint32(cfg.BufferSize)
		for _, m := range spec.Maps {
			if m.Type != ebpf.TaskStorage { // the only ones for which the kernel asks to be told the types
				m.Key, m.Value = nil, nil
			}
		}
		if err := setNumberType(spec, k.beside.Types); err != nil {
			return err
		}
		return setVariables(spec, cfg, k.initIsEarly(), k.never)
	}
	defer func() {
		if err != nil {
			err = errors.Join(explain(err), k.close())
		}
	}()
	var (
		object *kernel.Object
		ring   *ebpf.Map
	)
	err = sideBySide([]func() error{
		func() (err error) { k.support, err = probe(); return err },
		func() (err error) { object, err = kernel.ParseBuiltin("stream", streamObject()); return err },
		func() error { ring = makeRing(cfg); return nil },
	})
	if ring != nil {
		defer ring.Close()
		k.beside.Made = map[string]*ebpf.Map{streamMapRing: ring}
	}
	if err != nil {
		return nil, err
	}
	k.support.Share(&k.beside)
	if k.module, err = object.Load(kernel.LoadOptions{Companion: &k.beside}); err != nil {
		return nil, err
	}
	k.table, err = kernel.NewTable(kernel.Config{
		Support: k.support, DryRun: cfg.DryRun, CallStats: cfg.CallStats, Builtins: []kernel.Builtin{{Module: k.module}},
	})
	if err != nil {
		return nil, err
	}
	// The verifier takes its time: all at once.
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
	if err := sideBySide(steps); err != nil {
		return nil, err
	}
	k.control.Store64(controlCgroup, cgroup)
	k.cgroup = cgroup
	return k, nil
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

// load loads programs that are not the table's. The library has descriptors of its own
// of all maps that it is given, in each load: these are those that the programs use, for
// of all, in many loads at the same time, there would be more than some may open.
func (k *half) load(names ...string) (*ebpf.Collection, error) {
	all := k.beside.Spec
	spec := &ebpf.CollectionSpec{
		Programs: map[string]*ebpf.ProgramSpec{}, Maps: map[string]*ebpf.MapSpec{}, Types: all.Types, ByteOrder: all.ByteOrder,
	}
	there := map[string]*ebpf.Map{}
	for _, name := range names {
		p := all.Programs[name].Copy()
		spec.Programs[name] = p
		for i := range p.Instructions {
			ins := &p.Instructions[i]
			used := ins.Reference()
			if !ins.IsLoadFromMap() || there[used] != nil {
				continue
			}
			m := all.Maps[used].Copy()
			there[used] = k.beside.Maps[used]
			m.MaxEntries = there[used].MaxEntries()
			spec.Maps[used] = m
		}
	}
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: there, Cache: k.beside.Types})
}

// loadIter loads the task iterator, if it is not there. That of a command is only
// needed after a loss: at the start its tree is empty.
func (k *half) loadIter() error {
	if k.iter != nil {
		return nil
	}
	coll, err := k.load(streamProgIterTasks)
	if err != nil {
		return err
	}
	defer coll.Close() // the link holds the program
	if k.iter, err = link.AttachIter(link.IterOptions{Program: coll.Programs[streamProgIterTasks]}); err != nil {
		return fmt.Errorf("attach the task iterator: %w", err)
	}
	return nil
}

// loadSysExit loads on_sys_exit, if it is not there.
func (k *half) loadSysExit() error {
	if k.sysExit != nil {
		return nil
	}
	coll, err := k.load(streamProgOnSysExit)
	if err != nil {
		return err
	}
	k.sysExit = coll.DetachProgram(streamProgOnSysExit)
	coll.Close()
	return nil
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

// hold has the kernel kill the tree when this process ends, where the kernel
// can: since Linux 6.16.
func (k *half) hold() error {
	coll, err := k.load(streamProgOnOwnExit)
	if err != nil {
		return nil // the death of the thread that starts the command has to do
	}
	defer coll.Close()
	k.ownExit, err = link.AttachTracing(link.TracingOptions{Program: coll.Programs[streamProgOnOwnExit]})
	return err
}

// followCgroup has the kernel side see it when the cgroup is made again. Where
// it cannot, the reader does, a little later.
func (k *half) followCgroup() error {
	coll, err := k.load(streamProgOnCgroupMkdir)
	if err != nil {
		return nil
	}
	defer coll.Close()
	if l, err := link.AttachTracing(link.TracingOptions{Program: coll.Programs[streamProgOnCgroupMkdir]}); err == nil {
		k.mkdir = l
	}
	return nil
}

func setVariables(spec *ebpf.CollectionSpec, cfg *Config, early bool, never uint32) error {
	var initEarly, cloneIsInit, ownOnly uint32 = 0, 1, 0
	if early {
		initEarly, cloneIsInit = 1, 0
	}
	if cfg.scope() == scopeTree {
		ownOnly = 1
	}
	v1, systemd := procfs.Hierarchies()
	for name, value := range map[string]any{
		streamVarScope:               cfg.scope(),
		streamVarNeverWanted:         never,
		streamVarScopePid:            int32(cfg.PID),
		streamVarScopePath:           scopePath(cfg.Cgroup),
		streamVarOwnPid:              int32(os.Getpid()),
		streamVarInitEarly:           initEarly,
		streamVarCloneIsInit:         cloneIsInit,
		streamVarOwnOnly:             ownOnly,
		streamVarV1Hierarchies:       uint32(v1),
		streamVarV1Systemd:           uint32(systemd),
		streamVarWakeBytes:           uint32(cfg.BufferSize / 4),
		streamVarExecveSyscall:       uint64(unix.SYS_EXECVE),
		streamVarExecveatSyscall:     uint64(unix.SYS_EXECVEAT),
		streamVarExecveSyscall32:     uint64(11),
		streamVarExecveatSyscall32:   uint64(execveat32[runtime.GOARCH]),
		streamVarUidSyscalls:         bitSet(unix.SYS_SETUID, unix.SYS_SETREUID, unix.SYS_SETRESUID, unix.SYS_SETFSUID),
		streamVarGidSyscalls:         bitSet(unix.SYS_SETGID, unix.SYS_SETREGID, unix.SYS_SETRESGID, unix.SYS_SETFSGID),
		streamVarUidSyscalls32:       bitSet(23, 70, 138, 164, 203, 208, 213, 215), // setuid, setreuid, setfsuid, setresuid, and with suffix 32
		streamVarGidSyscalls32:       bitSet(46, 71, 139, 170, 204, 210, 214, 216),
		streamVarSetgroupsSyscalls:   bitSet(unix.SYS_SETGROUPS),
		streamVarSetgroupsSyscalls32: bitSet(81, 206),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

func (k *half) open(cfg *Config) (err error) {
	if k.ring, err = sys.MapRingBuffer(k.beside.Maps[streamMapRing].FD(), cfg.BufferSize); err != nil {
		return err
	}
	k.control, err = sys.MapSharedWords(k.beside.Maps[".bss"].FD())
	return err
}

// bitSet returns the set of the given numbers as the programs read it.
func bitSet(numbers ...int) (set [syscallWords]uint64) {
	for _, n := range numbers {
		set[n/64] |= 1 << (n % 64)
	}
	return set
}

// iterate returns the records of all tasks in scope that exist now. Of a
// process's tree it finds more with each pass, as long as there are more.
func (k *half) iterate() ([]byte, error) {
	if err := k.loadIter(); err != nil {
		return nil, explain(err)
	}
	for {
		entered := k.control.Load(controlEntered)
		rd, err := k.iter.Open()
		if err != nil {
			return nil, explain(fmt.Errorf("read the task iterator: %w", err))
		}
		b, err := io.ReadAll(rd)
		if err = errors.Join(err, rd.Close()); err != nil {
			return nil, fmt.Errorf("bpf: read the task iterator: %w", err)
		}
		if k.control.Load(controlEntered) == entered {
			return b, nil
		}
	}
}

// tasks calls fn with a record of every task in scope that exists now.
func (k *half) tasks(fn func(*record)) error {
	b, err := k.iterate()
	if err != nil {
		return err
	}
	var r record
	for len(b) > 0 {
		if err := r.decode(b); err != nil {
			return err
		}
		fn(&r)
		b = b[dataSize+len(r.exe)+len(r.cwd)+len(r.argv):]
	}
	return nil
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
