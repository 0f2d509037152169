package kernel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/attach"
	"github.com/taskwatch/taskwatch/internal/kerneltypes"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/offsets"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/module/kernel/internal/object"
)

// Config are the choices of [NewTable]. The zero value is a table without
// built-ins.
type Config struct {
	// Support is what [Probe] found; nil has NewTable probe.
	Support *Support

	// DryRun has the table call its watchers as ever and report what would
	// have been denied, and deny nothing.
	DryRun bool

	// OwnerAlone has vetoes stop other processes of this program like any: only
	// this process, and those that [Table.Exempt] names, are exempt. It is for a
	// table that none of them has to be unloaded from.
	OwnerAlone bool

	// CallStats has the calls of modules' watchers counted and timed: see
	// ModuleInfo.Watchers. It costs 100 to 200 ns a call.
	CallStats bool

	// Builtins stand before all modules, in this order. They stay the
	// caller's to close, after the table.
	Builtins []Builtin
}

// The flags in the third argument of a report function: see [Builtin].
const (
	// ReportVeto says that this error denies the operation: it is the
	// first of the event by a watcher that may.
	ReportVeto = link.ReportVeto
	// ReportDryRun says that it would have, if the table were no dry run.
	ReportDryRun = link.ReportDryRun
)

// Builtin is a module that a table is made with. Its object may provide, once
// per table, the functions
//
//	SEC(".task_watchers.report")
//	int f(unsigned long val, struct task_struct *tsk, __u64 who, int err, const void *detail)
//
// which is called right after each watcher that failed. who is the id of that
// watcher in the lower 32 bits ([Table.Watcher] names it), ReportVeto and
// ReportDryRun in the 8 above them, and the event in the next 8. detail is what
// watchers of built-ins get as their third argument. The other function,
//
//	SEC(".task_watchers.emit")
//	long f(__u32 module, const void *data, __u32 size, __u32 type)
//
// is what task_watcher_emit() calls, with the id of the module, and
// task_watcher_emit_struct() with the number of the type, else 0
// ([Table.Record] takes both), and task_watcher_log() with EmitLog and the level
// ([Table.Log]). Both functions must be global functions, like watchers. Watchers
// of built-ins may take a third and fourth argument: on exec the struct
// linux_binprm * and the task's id before the exec (they differ for a thread
// that was not the leader), on uid and gid a struct task_ids *.
type Builtin struct {
	Module *Module

	// Kinds are the events under which it is listed; events it has no
	// watchers for are left out. [Table.SetKinds] changes them.
	Kinds taskwatch.Kinds
}

// Table holds modules and calls their watchers from inside the kernel. It is
// made by [NewTable] and must be closed. Its methods may be called from any
// goroutine; they take their turns.
type Table struct {
	dryRun  bool
	timed   bool // CallStats
	support *Support
	plan    []*plan.Hook
	kernel  attach.Kernel
	grace   *attach.Grace
	latches *latches
	exempt  *exemption // nil where nothing can be denied
	shared  sharedMaps
	called  atomic.Int32 // modules; they may not be registered yet, or still

	mu       sync.Mutex // guards the fields below
	closed   bool
	builtins []*listing
	modules  []*listing // in the order of registration
	owners   map[*listing]*Module
	attached map[*plan.Hook]*attach.Attachment
	idle     map[*plan.Hook]*attach.Attachment // attached, and calling nobody
	names    map[uint32]WatcherInfo            // by watcher id, for reports that come late
	senders  map[uint32]sender                 // by module id, for records that come late
	departed []uint32                          // ids of the last modules that have gone
	lastID   uint32
	slots    []bool                   // of the counters, in use
	missed   map[*plan.Hook]uint64    // by hooks that are attached no more
	skipped  map[*plan.Hook][]Skipped // of modules that have gone
	ready    map[*plan.Hook]*change   // what Check has verified, until the next change

	detaching  *time.Timer    // for idle
	retired    int            // how often detaching was set
	background sync.WaitGroup // of what is being detached
}

// NewTable creates an empty table. Nothing is attached until a watcher needs
// it. It needs root, or CAP_BPF and CAP_PERFMON (and CAP_SYS_ADMIN for the
// tracepoints of system calls), Linux 5.11 and the kernel's BTF.
func NewTable(cfg Config) (_ *Table, err error) {
	t := &Table{
		dryRun: cfg.DryRun, timed: cfg.CallStats, support: cfg.Support,
		owners: map[*listing]*Module{}, attached: map[*plan.Hook]*attach.Attachment{}, idle: map[*plan.Hook]*attach.Attachment{},
		names: map[uint32]WatcherInfo{}, senders: map[uint32]sender{},
		slots: make([]bool, maxSlots), missed: map[*plan.Hook]uint64{}, skipped: map[*plan.Hook][]Skipped{},
	}
	defer func() {
		if err != nil {
			t.Close()
			var e *Error
			if !errors.As(err, &e) {
				err = &Error{Op: "open table", Err: err, Hint: hintFor(err)}
			}
		}
	}()
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, err
	}
	if t.support == nil {
		if t.support, err = Probe(); err != nil {
			return nil, err
		}
	}
	if t.kernel.Types = t.support.types; t.kernel.Types == nil { // made by the caller
		t.kernel.Types = kerneltypes.Cache()
	}
	kernel, err := t.kernel.Types.Kernel()
	if err != nil {
		return nil, fmt.Errorf("the kernel's type information: %w", err)
	}
	if t.kernel.Off, err = offsets.Find(kernel); err != nil {
		return nil, err
	}
	if t.grace, err = attach.NewGrace(); err != nil {
		return nil, err
	}
	t.kernel.Stats, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_stats", Type: ebpf.Array, KeySize: 4, ValueSize: link.StatSize * maxSlots, MaxEntries: 1})
	if err != nil {
		return nil, err
	}
	if t.latches, err = newLatches(); err != nil {
		return nil, err
	}
	t.slots[0] = true // stays 0: see package link
	t.plan = plan.Hooks(t.support.known())
	if t.vetoKinds() != 0 {
		if t.exempt, err = newExemption(&t.kernel); err != nil {
			return nil, err
		}
		if cfg.OwnerAlone {
			t.exempt.Inode = 0 // no program's
		}
	}
	for _, b := range cfg.Builtins {
		if err := t.addBuiltin(b); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// addBuiltin lists a built-in under no event yet, then under its own.
func (t *Table) addBuiltin(b Builtin) error {
	if err := b.Module.claim(t); err != nil {
		return &Error{Op: "register", Module: b.Module.Name(), Err: err}
	}
	l, err := t.list(b.Module)
	if err != nil {
		b.Module.release()
		return &Error{Op: "register", Module: b.Module.Name(), Err: err}
	}
	l.Kinds = 0
	t.builtins = append(t.builtins, l)
	return t.SetKinds(b.Module, b.Kinds)
}

// Support returns what the running kernel lets the table do. It is not to be changed.
func (t *Table) Support() *Support { return t.support }

// Called returns how many modules may be called, the built-ins left out. It does
// not wait for changes of the table.
func (t *Table) Called() int { return int(t.called.Load()) }

// SetKinds changes the events under which a built-in is listed, all of them or
// none. Once it returns, watchers of the events that were taken away are no
// longer running.
func (t *Table) SetKinds(m *Module, kinds taskwatch.Kinds) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return &Error{Op: "register", Module: m.Name(), Err: ErrClosed}
	}
	i, err := t.builtin(m)
	if err != nil {
		return &Error{Op: "register", Module: m.Name(), Err: err}
	}
	kinds &= m.object.Kinds()
	builtins := slices.Clone(t.builtins)
	builtins[i] = builtins[i].under(kinds)
	if err := t.apply(builtins, t.modules); err != nil {
		return t.explain("register", m, err)
	}
	t.builtins[i].Kinds = kinds
	return nil
}

// builtin returns which of the built-ins m is.
func (t *Table) builtin(m *Module) (int, error) {
	i := slices.IndexFunc(t.builtins, func(l *listing) bool { return t.owners[l] == m })
	if i < 0 {
		return 0, object.Invalid("it is not a built-in of this table")
	}
	return i, nil
}

// Close unregisters everything and detaches every hook. Watchers of detach are
// called as by Unregister. Once it returns, no watcher of a module runs, and one of
// a built-in, if there are no modules, only where it was running before. All modules
// stay the caller's to close.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	var errs []error
	awaited := len(t.modules) > 0 // else nobody is told that nothing runs, and a grace period takes 15 ms
	if awaited {
		errs = append(errs, t.latches.change(false, t.modules...))
	}
	for i := range t.modules {
		errs = append(errs, t.leave(i))
	}
	t.closed = true
	if t.detaching != nil {
		t.detaching.Stop()
	}
	attached := slices.Concat(slices.Collect(maps.Values(t.attached)), slices.Collect(maps.Values(t.idle)))
	for _, a := range attached {
		t.settleMissed(a)
	}
	errs = append(errs, attach.CloseAll(attached)...)
	clear(t.attached)
	clear(t.idle)
	t.background.Wait() // it takes no lock
	discard(slices.Collect(maps.Values(t.ready)))
	t.ready = nil
	if t.grace != nil {
		if awaited {
			errs = append(errs, t.grace.Wait())
		}
		t.grace.Close()
	}
	errs = append(errs, t.kernel.Stats.Close(), t.latches.close(), t.exempt.close())
	for l, m := range t.owners {
		errs = append(errs, l.close())
		m.release()
	}
	clear(t.owners)
	t.builtins, t.modules = nil, nil
	if err := errors.Join(errs...); err != nil {
		return &Error{Op: "close table", Err: err}
	}
	return nil
}
