package kernel

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// Attach and detach are called by iterators, programs that the kernel runs for
// each task when a file is read.

// iterator is where they run. Its context is that of struct bpf_iter__task.
var iterator = &plan.Hook{Name: "iter/task", Type: ebpf.Tracing, Attach: ebpf.AttachTraceIter, Target: "task"}

// visitor links the program that calls a module's functions of one entry for the
// task that it is run for.
func (lk *linker) visitor(l *listing, e plan.Entry) (asm.Instructions, error) {
	used := newUsage(lk)
	if !used.addEntry(l, e) {
		return nil, used.fits(lk, l, e)
	}
	lk.bodies, lk.linked = nil, map[string]bool{}
	report, err := lk.provider(func(o *Object) string { return o.report })
	if err != nil {
		return nil, err
	}
	g := &gen{off: lk.off}
	const skip, failed = "skip", "failed"
	g.emit(
		asm.Mov.Reg(regCtx, asm.R1),
		asm.Mov.Imm(regFirst, 0),
		asm.Mov.Imm(regVal, 0),
		asm.StoreMem(asm.RFP, stackDetail, regVal, asm.DWord),
		asm.StoreMem(asm.RFP, stackExtra, regVal, asm.DWord),
	)
	g.arg(regTask, 1)
	g.emit(asm.JEq.Imm(regTask, 0, skip)) // the end
	g.findMark(l.marks, failed)
	if e == plan.Attach {
		g.setMark(markKnown)
		g.emit(asm.JNE.Imm(asm.R2, 0, skip))
		g.countMark(l.marks, countKnown, 1)
	} else {
		g.setMark(markGone)
		g.emit(asm.JNE.Imm(asm.R2, markKnown, skip))
		g.countMark(l.marks, countKnown, -1)
	}
	if err := lk.entries(g, l, e, report); err != nil {
		return nil, err
	}
	g.emit(asm.Ja.Label(skip))
	g.mark(failed)
	g.countMark(l.marks, countUnmarked, 1)
	g.mark(skip)
	g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return lk.finish(g), nil
}

// visitors loads the programs that call the module's attach and detach, with
// lists that it is in. One that has only detach has all tasks marked all the
// same: they are those that it is called for.
func (t *Table) visitors(l *listing, lists []*listing) error {
	if l.marks == nil {
		return nil
	}
	lk := t.linker(iterator, lists)
	var err error
	if l.attach, err = t.loadVisitor(lk, l, plan.Attach); err != nil {
		return err
	}
	if len(l.watched[plan.Detach]) > 0 {
		l.detach, err = t.loadVisitor(lk, l, plan.Detach)
	}
	return err
}

func (t *Table) loadVisitor(lk *linker, l *listing, e plan.Entry) (*ebpf.Program, error) {
	insns, err := lk.visitor(l, e)
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", lk.hook.Name, err)
	}
	p, err := loadProgram("task_watchers", lk.hook, insns, t.types)
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", lk.hook.Name, err)
	}
	return p, nil
}

// maxVisits is how often all tasks are visited for those that could not be
// marked.
const maxVisits = 20

// visit runs the program for each task.
//
// Once is not enough. An exec by a thread that is not the leader gives it the
// leader's number, which an iterator may have passed already; after that its
// number is final.
func visit(p *ebpf.Program, m *marks) error {
	it, err := link.AttachIter(link.IterOptions{Program: p})
	if err != nil {
		return fmt.Errorf("visit all tasks: %w", err)
	}
	defer it.Close()
	var before int64
	for n := range maxVisits {
		if err := visitOnce(it); err != nil {
			return fmt.Errorf("visit all tasks: %w", err)
		}
		counts, err := m.read()
		if err != nil {
			return fmt.Errorf("visit all tasks: %w", err)
		}
		if n > 0 && counts[countUnmarked] == before {
			return nil
		}
		before = counts[countUnmarked]
	}
	return fmt.Errorf("visit all tasks: %w: the kernel has no memory for the marks of some", unix.ENOMEM)
}

func visitOnce(it *link.Iter) error {
	file, err := it.Open()
	if err != nil {
		return err
	}
	defer file.Close()
	for b := make([]byte, 64); ; {
		_, err := file.Read(b)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, unix.EAGAIN): // after a million without output
			return err
		}
	}
}

// leave calls detach for each task that the i-th module knows. From then on only
// its watchers of free remain, each of them for tasks that were not detached.
// Callers hold mu.
func (t *Table) leave(i int) error {
	l := t.modules[i]
	if l.detach == nil {
		return nil
	}
	modules := slices.Clone(t.modules)
	modules[i] = l.leave()
	if err := t.apply(t.builtins, modules); err != nil {
		return err
	}
	*l = *modules[i]
	if err := visit(l.detach, l.marks); err != nil {
		return err
	}
	if len(l.watchers(plan.Entry(taskwatch.Free))) == 0 {
		return nil
	}
	return t.awaitFrees(l.marks)
}

// freeTime is how long a module that goes waits for tasks that no iterator finds
// any more and that are not freed yet. Most are, a moment after their end; some
// have to wait for a reference that the kernel has to them.
const freeTime = 2 * time.Second

// awaitFrees waits until all tasks are gone, if each of them meets free.
func (t *Table) awaitFrees(m *marks) error {
	if t.support.LSM != nil && t.support.FEntry != nil {
		return nil
	}
	for end := time.Now().Add(freeTime); ; time.Sleep(2 * time.Millisecond) {
		counts, err := m.read()
		if err != nil {
			return fmt.Errorf("wait for tasks to be freed: %w", err)
		}
		if counts[countKnown] <= 0 || time.Now().After(end) {
			return nil
		}
	}
}

// whole returns an error where not all tasks can be visited.
func whole() error {
	if initial, err := procfs.InInitialNamespace(procfs.PIDNamespace); err == nil && !initial {
		return invalid("it has watchers of attach or detach, and this process is in a pid namespace of its own, where it does not see all tasks: run it in the host's pid namespace (--pid=host)")
	}
	return nil
}
