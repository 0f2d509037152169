package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source"
)

const idKinds = taskwatch.Kinds(1<<taskwatch.UID | 1<<taskwatch.GID)

// needed returns the kinds that the kernel side has to gather so that the
// given ones can be delivered with every field, and a command's tree is known.
func (k *half) needed(kinds taskwatch.Kinds) taskwatch.Kinds {
	if kinds == 0 && !k.tree {
		return 0
	}
	kinds |= taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exec, taskwatch.Exit) | k.follow
	switch {
	case !kinds.Has(taskwatch.Init):
	case k.initIsEarly():
		kinds |= taskwatch.KindsOf(taskwatch.Free) // else a fork that fails is never heard of again
	default:
		kinds &^= taskwatch.KindsOf(taskwatch.Init) // its record is that of clone
	}
	if kinds&idKinds != 0 {
		kinds |= idKinds // a change of the one shows the others, which must be right
	}
	return kinds
}

// initIsEarly reports whether a fork may still fail after its init event.
func (k *half) initIsEarly() bool { return k.support.LSM == nil || k.support.ModifyReturn == nil }

// initIsSkippable reports whether the kernel passes by the program of init while a
// task is preempted inside. (It may be told to preempt everything at any time.)
func (k *half) initIsSkippable() bool { return k.support.LSM != nil && k.support.ModifyReturn == nil }

// bySyscall reports whether on_sys_exit has to tell the changes of ids. Every
// system call of the machine pays for it, about twice what the table's
// tracepoints of single system calls cost; so those come first, although they
// are silent about 32-bit programs. For a command it is the other way round:
// taking 16 tracepoints off takes longer than most commands.
func (k *half) bySyscall() bool {
	return k.support.FEntry != nil && (k.support.Syscalls != nil || k.command)
}

// watch attaches what the given kinds need and detaches the rest, and has the
// given fields gathered. fresh says that something is gathered from now on that
// the known tasks lack. What cannot be attached is left out: short is
// nil, or says what is.
func (k *half) watch(kinds taskwatch.Kinds, fields taskwatch.Fields) (fresh bool, short *source.Shortage) {
	wanted := wantedOf(fields)
	k.control.Store(controlKinds, uint32(kinds))
	k.control.Store(controlWanted, wanted)
	need := k.needed(kinds)
	got, err := k.attach(need)
	if e := k.watchGained(wanted&wantGained != 0); e != nil {
		err = errors.Join(err, e) // the field is missing
	}
	fresh = got&^k.gathered != 0 || wanted&^k.wanted != 0
	k.gathered, k.wanted = got, wanted
	if lacking := need &^ got; lacking != 0 {
		short = &source.Shortage{Kinds: lacking, Err: err}
	}
	return fresh, short
}

// attach attaches what it can of the kinds, and returns what that is, and why
// not the rest. What cannot be detached stays, which is no error: nobody asks
// for it.
func (k *half) attach(need taskwatch.Kinds) (got taskwatch.Kinds, err error) {
	var errs []error
	table := need
	syscalls := need&idKinds != 0 && (k.bySyscall() || k.instead)
	if syscalls {
		table &^= idKinds
	}
	var inTable taskwatch.Kinds
	var tableErrs []error
	err = sideBySide([]func() error{
		func() error { return k.watchSyscalls(syscalls) },
		func() error { inTable = k.attachTable(table, &tableErrs) & table; return nil },
	})
	if err == nil && syscalls {
		got |= need & idKinds
	} else if err != nil && syscalls {
		errs = append(errs, err)
	}
	got |= inTable
	errs = append(errs, tableErrs...)
	if lacking := need & idKinds &^ got; lacking != 0 && !syscalls && k.support.FEntry != nil {
		// Each system call's own tracepoints take 32 descriptors, and
		// perf_event_open, which may be denied.
		if err := k.watchSyscalls(true); err == nil {
			k.instead = true
			return got | need&idKinds, errors.Join(errs...)
		}
	}
	return got, errors.Join(errs...)
}

// attachTable has the table list the stream under these kinds: all at once, or
// else one by one beside those that are there. It returns those under which it
// is listed.
func (k *half) attachTable(kinds taskwatch.Kinds, errs *[]error) taskwatch.Kinds {
	if k.table.SetKinds(k.module, kinds) == nil {
		k.attached = kinds
		return kinds
	}
	if k.attached&^kinds != 0 && k.table.SetKinds(k.module, k.attached&kinds) == nil {
		k.attached &= kinds
	}
	for _, kind := range attachOrder {
		one := taskwatch.KindsOf(kind) & kinds &^ k.attached
		if one == 0 {
			continue
		}
		if err := k.table.SetKinds(k.module, k.attached|one); err != nil {
			*errs = append(*errs, explain(err))
			continue
		}
		k.attached |= one
	}
	return k.attached
}

// attachOrder is that in which kinds are attached where not all can be: first
// those without which others are of little use.
var attachOrder = []taskwatch.Kind{
	taskwatch.Exec, taskwatch.Exit, taskwatch.Clone, taskwatch.UID, taskwatch.GID, taskwatch.Init, taskwatch.Free,
}

func (k *half) watchSyscalls(on bool) error {
	return whileOn(&k.syscall, on, func() (link.Link, error) {
		if err := k.loadSysExit(); err != nil {
			return nil, explain(err)
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: k.sysExit})
		if err != nil {
			return nil, explain(fmt.Errorf("attach to sys_exit: %w", err))
		}
		return l, nil
	})
}

// whileOn attaches to the end of every system call, or detaches, as l is not yet.
func whileOn(l *link.Link, on bool, attach func() (link.Link, error)) (err error) {
	switch {
	case on && *l == nil:
		*l, err = attach()
	case !on && *l != nil:
		gone := *l
		*l = nil
		if err = gone.Close(); err != nil {
			err = fmt.Errorf("bpf: detach from sys_exit: %w", err)
		}
	}
	return err
}
