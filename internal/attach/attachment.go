package attach

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/offsets"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/tracefs"
)

// Kernel is what all attachments of a table use. It is not to be changed.
type Kernel struct {
	Types *btf.Cache // the kernel's type information
	Off   *offsets.Offsets
	Stats *ebpf.Map // the counters of watchers
}

// Attachment is a hook in use: the entry program, its slot, and what keeps it
// attached. It is for one goroutine at a time.
type Attachment struct {
	Hook *plan.Hook // not to be changed

	kernel *Kernel
	slot   *ebpf.Map // program array; the entry program calls the first
	stash  *ebpf.Map // old ids by task, for hooks on system calls and after an exec
	entry  *ebpf.Program
	enter  *ebpf.Program // puts ids aside; nil where nothing is
	carry  *ebpf.Map     // vetoes by task, between the programs of a chain
	steps  *ebpf.Map     // the number of the step that a task's exec is at, for hooks that number them
	links  []io.Closer
	aside  bool // Hook.Before is attached to

	current Chain // in place, or empty
}

// Prepare creates the maps of a hook; Attach makes it live. Close the result.
func Prepare(k *Kernel, h *plan.Hook) (*Attachment, error) {
	a := &Attachment{Hook: h, kernel: k}
	var err error
	a.slot, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_slot", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: slotCount})
	if err == nil && h.Veto {
		a.carry, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_carry", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 16384})
	}
	if err == nil && h.Steps {
		a.steps, err = ebpf.NewMap(link.TaskStorage("tw_steps"))
	}
	if err == nil && len(h.Syscalls) > 0 && !h.Stateless {
		a.stash, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_old_ids", Type: ebpf.Hash, KeySize: 4, ValueSize: link.IDsSize, MaxEntries: 16384})
	}
	if err != nil {
		a.Close()
		return nil, fmt.Errorf("hook %s: %w", h.Name, err)
	}
	return a, nil
}

// keepIDs creates the map for the ids that an exec may change, if it is not there.
// An exec that fails in between leaves its ids here; they give way.
func (a *Attachment) keepIDs() (err error) {
	if a.stash == nil {
		a.stash, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_old_ids", Type: ebpf.LRUHash, KeySize: 4, ValueSize: 2 * link.IDsSize, MaxEntries: 16384})
	}
	return err
}

// PutAside has the ids of a task put aside before an exec, if that is not done yet.
// Only the events of ids need that.
func (a *Attachment) PutAside() error {
	if a.aside {
		return nil
	}
	before := &plan.Hook{Type: ebpf.Tracing, Attach: ebpf.AttachTraceRawTp, Target: a.Hook.Before}
	if err := a.loadEnter(before, plan.UserIDs, plan.GroupIDs); err != nil {
		return fmt.Errorf("attach to %s: %w", before.Target, err)
	}
	if err := a.link(before, a.enter); err != nil {
		return fmt.Errorf("attach to %s: %w", before.Target, err)
	}
	a.aside = true
	return nil
}

// Load verifies the dispatcher that lk links: one program, or a chain of them. It
// is to be put in place by Swap, before another one is.
func (a *Attachment) Load(lk *link.Linker) ([]*ebpf.Program, error) {
	lk.Slot, lk.Second = a.slot, a.bank()
	if lk.ComparesIDs() {
		if err := a.keepIDs(); err != nil {
			return nil, fmt.Errorf("hook %s: %w", a.Hook.Name, err)
		}
	}
	if a.stash != nil {
		lk.Stash = a.stash
	}
	if a.carry != nil {
		lk.Carry = a.carry
	}
	if a.steps != nil {
		lk.Steps = a.steps
	}
	stages, err := lk.Link()
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", a.Hook.Name, err)
	}
	var programs []*ebpf.Program
	for _, insns := range stages {
		p, err := Program("task_watchers", a.Hook, insns, a.kernel.Types)
		if err != nil {
			CloseAll(programs)
			return nil, fmt.Errorf("hook %s: %w", a.Hook.Name, err)
		}
		programs = append(programs, p)
	}
	return programs, nil
}

// LoadEntry loads the entry program, whose slot is still empty, if it is not there.
func (a *Attachment) LoadEntry() (err error) {
	if a.entry != nil {
		return nil
	}
	if a.entry, err = Program("tw_entry", a.Hook, link.Entry(a.kernel.Stats, a.slot), a.kernel.Types); err != nil {
		return fmt.Errorf("attach to %s: %w", a.Hook.Name, err)
	}
	return nil
}

// Attach puts the entry program on its hook.
func (a *Attachment) Attach() (err error) {
	if len(a.Hook.Syscalls) > 0 {
		err = a.attachSyscalls()
	} else {
		err = a.link(a.Hook, a.entry)
	}
	if err != nil {
		return fmt.Errorf("attach to %s: %w", a.Hook.Name, err)
	}
	return nil
}

// link attaches a program until the attachment is closed.
func (a *Attachment) link(h *plan.Hook, p *ebpf.Program) error {
	l, err := To(h, p)
	if err == nil {
		a.links = append(a.links, l)
	}
	return err
}

// loadEnter loads the program that puts ids aside, if it is not there.
func (a *Attachment) loadEnter(h *plan.Hook, kinds ...plan.IDs) (err error) {
	if a.enter == nil {
		a.enter, err = Program("tw_enter", h, link.PutAside(a.kernel.Off, a.stash, kinds...), a.kernel.Types)
	}
	return err
}

// attachSyscalls attaches to the exit of each system call, and to its entry where
// something is put aside there.
func (a *Attachment) attachSyscalls() error {
	type place struct {
		prefix string
		prog   *ebpf.Program
	}
	places := []place{{"sys_exit_", a.entry}}
	if a.stash != nil {
		if err := a.loadEnter(a.Hook, a.Hook.IDs); err != nil {
			return err
		}
		places = append(places, place{"sys_enter_", a.enter})
	}
	fs, err := tracefs.Open()
	if err != nil {
		return err
	}
	defer fs.Close()
	for _, name := range a.Hook.Syscalls {
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

// Missed returns how often the kernel has passed by the entry program, or by the one
// that puts aside what that needs: an event that missed both counts twice. The
// programs behind the entry have no guard of their own.
func (a *Attachment) Missed() (n uint64, err error) {
	if !a.Hook.Guarded() {
		return 0, nil
	}
	for _, p := range []*ebpf.Program{a.entry, a.enter} {
		if p == nil {
			continue
		}
		s, err := p.Stats()
		if err != nil {
			return 0, fmt.Errorf("read what hook %s has missed: %w", a.Hook.Name, err)
		}
		n += s.RecursionMisses
	}
	return n, nil
}

// Close detaches the hook and frees everything.
func (a *Attachment) Close() error {
	errs := CloseAll(a.links)
	for _, c := range []io.Closer{a.entry, a.enter, a.slot, a.stash, a.carry, a.steps} {
		errs = append(errs, c.Close()) // all may be nil inside
	}
	errs = append(errs, CloseAll(a.current.Programs)...)
	return errors.Join(errs...)
}
