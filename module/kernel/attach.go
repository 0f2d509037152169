package kernel

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/taskwatch/taskwatch/internal/offsets"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/tracefs"
)

// attachment is a hook in use: the entry program, its slot, and what keeps it
// attached.
type attachment struct {
	hook  *plan.Hook
	slot  *ebpf.Map // program array; the entry program calls the first
	stash *ebpf.Map // old ids by task, for hooks on system calls and after an exec
	entry *ebpf.Program
	carry *ebpf.Map // vetoes by task, between the programs of a chain
	links []io.Closer
	aside bool // Hook.Before is attached to

	current []*ebpf.Program // the chain in place, or empty
	second  int             // the slot of its second program
}

// prepare creates the maps of a hook; attach makes it live.
func prepare(h *plan.Hook) (*attachment, error) {
	a := &attachment{hook: h}
	var err error
	a.slot, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_slot", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: slotCount})
	if err == nil && h.Veto {
		a.carry, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_carry", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 16384})
	}
	if err == nil && len(h.Syscalls) > 0 && !h.Stateless {
		a.stash, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_old_ids", Type: ebpf.Hash, KeySize: 4, ValueSize: idsSize, MaxEntries: 16384})
	}
	if err != nil {
		a.Close()
		return nil, fmt.Errorf("hook %s: %w", h.Name, err)
	}
	return a, nil
}

// keepIDs creates the map for the ids that an exec may change, if it is not there.
// An exec that fails in between leaves its ids here; they give way.
func (a *attachment) keepIDs() (err error) {
	if a.stash == nil {
		a.stash, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_old_ids", Type: ebpf.LRUHash, KeySize: 4, ValueSize: 2 * idsSize, MaxEntries: 16384})
	}
	return err
}

// putAside has the ids of a task put aside before an exec, if that is not done yet.
// Only the events of ids need that.
func (a *attachment) putAside(off *offsets.Offsets, types *btf.Cache) error {
	if a.aside {
		return nil
	}
	before := &plan.Hook{Type: ebpf.Tracing, Attach: ebpf.AttachTraceRawTp, Target: a.hook.Before}
	enter, err := a.loadEnter(before, off, types, plan.UserIDs, plan.GroupIDs)
	if err != nil {
		return fmt.Errorf("attach to %s: %w", before.Target, err)
	}
	defer enter.Close() // the link holds it
	if err := a.link(before, enter); err != nil {
		return fmt.Errorf("attach to %s: %w", before.Target, err)
	}
	a.aside = true
	return nil
}

// loadEntry loads the entry program, whose slot is still empty, if it is not there.
func (a *attachment) loadEntry(off *offsets.Offsets, stats asm.FDer, types *btf.Cache) (err error) {
	if a.entry != nil {
		return nil
	}
	g := &gen{off: off, stash: a.stash}
	g.emit(asm.Mov.Reg(regCtx, asm.R1))
	g.tailCall(stats, a.slot, 0)
	g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return()) // the slot is empty
	if a.entry, err = loadProgram("tw_entry", a.hook, g.insns, types); err != nil {
		return fmt.Errorf("attach to %s: %w", a.hook.Name, err)
	}
	return nil
}

// attach puts the entry program on its hook.
func (a *attachment) attach(off *offsets.Offsets, types *btf.Cache) (err error) {
	if len(a.hook.Syscalls) > 0 {
		err = a.attachSyscalls(off, types)
	} else {
		err = a.link(a.hook, a.entry)
	}
	if err != nil {
		return fmt.Errorf("attach to %s: %w", a.hook.Name, err)
	}
	return nil
}

// link attaches a program until the attachment is closed.
func (a *attachment) link(h *plan.Hook, p *ebpf.Program) error {
	l, err := attachTo(h, p)
	if err == nil {
		a.links = append(a.links, l)
	}
	return err
}

// loadEnter loads the program that puts ids aside.
func (a *attachment) loadEnter(h *plan.Hook, off *offsets.Offsets, types *btf.Cache, kinds ...plan.IDs) (*ebpf.Program, error) {
	g := &gen{off: off, stash: a.stash}
	g.storeStash(kinds...)
	g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return loadProgram("tw_enter", h, g.insns, types)
}

func attachTo(h *plan.Hook, p *ebpf.Program) (link.Link, error) {
	if h.Type == ebpf.LSM {
		return link.AttachLSM(link.LSMOptions{Program: p})
	}
	return link.AttachTracing(link.TracingOptions{Program: p, AttachType: h.Attach})
}

// attachSyscalls attaches to the exit of each system call, and to its entry where
// something is put aside there.
func (a *attachment) attachSyscalls(off *offsets.Offsets, types *btf.Cache) error {
	type place struct {
		prefix string
		prog   *ebpf.Program
	}
	places := []place{{"sys_exit_", a.entry}}
	if a.stash != nil {
		enter, err := a.loadEnter(a.hook, off, types, a.hook.IDs)
		if err != nil {
			return err
		}
		defer enter.Close() // the tracepoints hold it
		places = append(places, place{"sys_enter_", enter})
	}
	fs, err := tracefs.Open()
	if err != nil {
		return err
	}
	defer fs.Close()
	for _, name := range a.hook.Syscalls {
		for _, at := range places {
			tp, err := fs.Attach("syscalls", at.prefix+name, at.prog)
			if err != nil {
				return err
			}
			a.links = append(a.links, tp)
		}
	}
	return nil
}

// loadProgram loads a program for a hook.
//
// A failed load is repeated with the verifier's full log only where that is
// short: on a loop without end it has a line for each of a million steps.
func loadProgram(name string, h *plan.Hook, insns asm.Instructions, types *btf.Cache) (*ebpf.Program, error) {
	spec := &ebpf.ProgramSpec{
		Name: name, Type: h.Type, AttachType: h.Attach, AttachTo: h.Target,
		Instructions: insns, License: "GPL",
	}
	if h.Type == ebpf.TracePoint {
		spec.AttachTo = "" // a tracepoint program names no target
	}
	p, err := loadSpec(spec, types, ebpf.LogLevelStats)
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) && steps(ve.Log) <= 20000 {
		p, err = loadSpec(spec, types, ebpf.LogLevelBranch)
	}
	return p, err
}

// loadSpec loads one program by way of a collection, which is how the library
// lets us reuse the kernel's type information: reading it takes longer than
// everything else.
func loadSpec(spec *ebpf.ProgramSpec, types *btf.Cache, level ebpf.LogLevel) (*ebpf.Program, error) {
	kernel, err := types.Kernel()
	if err != nil {
		return nil, err
	}
	const key = "dispatcher"
	coll, err := ebpf.NewCollectionWithOptions(
		&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{key: spec}},
		ebpf.CollectionOptions{Cache: types, Programs: ebpf.ProgramOptions{KernelTypes: kernel, LogLevel: level}})
	if err != nil {
		return nil, err
	}
	return coll.DetachProgram(key), nil
}

// A program array has two banks for the programs behind the first, so that a
// new chain can be put beside the one in use.
const (
	bankSize  = 16
	slotCount = 1 + 2*bankSize
)

// bank is where the next chain's second program goes.
func (a *attachment) bank() int {
	if a.second == 1 {
		return 1 + bankSize
	}
	return 1
}

// swap makes the hook run the given programs, which were linked for bank(), or
// none. The first slot decides; it changes atomically. It returns what was
// there, which the kernel may still be running.
func (a *attachment) swap(next []*ebpf.Program) (old chain, err error) {
	old, second := chain{a.current, a.second}, a.bank()
	if err := a.install(chain{next, second}); err != nil {
		return old, fmt.Errorf("swap the dispatcher of %s: %w", a.hook.Name, err)
	}
	return old, nil
}

// chain is a dispatcher in place: its programs, and the slot of the second.
type chain struct {
	programs []*ebpf.Program
	second   int
}

func (a *attachment) install(c chain) error {
	for i, p := range c.programs {
		if i > 0 {
			if err := a.slot.Put(uint32(c.second+i-1), p); err != nil {
				return err
			}
		}
	}
	var err error
	if len(c.programs) > 0 {
		err = a.slot.Put(uint32(0), c.programs[0])
	} else if err = a.slot.Delete(uint32(0)); errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	if err == nil {
		a.current, a.second = c.programs, c.second
	}
	return err
}

// drop frees a chain that is no longer run.
func (a *attachment) drop(c chain) {
	for i, p := range c.programs {
		if i > 0 && c.second != a.second {
			a.slot.Delete(uint32(c.second + i - 1)) // it may hold the last reference
		}
		p.Close()
	}
}

// steps returns how many instructions the verifier looked at.
func steps(log []string) int {
	for _, line := range log {
		var n int
		if _, err := fmt.Sscanf(line, "processed %d insns", &n); err == nil {
			return n
		}
	}
	return 0
}

// Close detaches the hook and frees everything.
func (a *attachment) Close() error {
	errs := closeAll(a.links)
	for _, c := range []io.Closer{a.entry, a.slot, a.stash, a.carry} {
		errs = append(errs, c.Close()) // all may be nil inside
	}
	errs = append(errs, closeAll(a.current)...)
	return errors.Join(errs...)
}

// closeAll closes everything at once: closing a tracepoint of a system call
// takes tens of milliseconds, most of them spent waiting.
func closeAll[T io.Closer](list []T) []error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, c := range list {
		wg.Go(func() { errs[i] = c.Close() })
	}
	wg.Wait()
	return errs
}
