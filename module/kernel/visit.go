package kernel

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	ebpflink "github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/attach"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/module/kernel/internal/object"
)

// Attach and detach are called by iterators, programs that the kernel runs for
// each task when a file is read.

// visitors loads the programs that call the module's attach and detach, with
// lists that it is in. One that has only detach has all tasks marked all the
// same: they are those that it is called for.
func (t *Table) visitors(l *listing, lists []*listing) error {
	if !l.object.file.Visits() {
		return nil
	}
	lk := t.linker(link.Iterator, lists)
	var err error
	if l.attach, err = t.loadVisitor(lk, l, plan.Attach); err != nil {
		return err
	}
	if len(l.Watched[plan.Detach]) > 0 {
		l.detach, err = t.loadVisitor(lk, l, plan.Detach)
	}
	return err
}

func (t *Table) loadVisitor(lk *link.Linker, l *listing, e plan.List) (*ebpf.Program, error) {
	insns, err := lk.Visitor(&l.Module, e)
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", lk.Hook.Name, err)
	}
	p, err := attach.Program("task_watchers", lk.Hook, insns, t.kernel.Types)
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", lk.Hook.Name, err)
	}
	return p, nil
}

// maxVisits is how often all tasks are visited for those that could not be
// marked.
const maxVisits = 20

// visit runs the program for each task; m is nil for a module without marks.
//
// Once is not enough. An exec by a thread that is not the leader gives it the
// leader's number, which an iterator may have passed already; after that its
// number is final.
func visit(p *ebpf.Program, m *marks) error {
	it, err := ebpflink.AttachIter(ebpflink.IterOptions{Program: p})
	if err != nil {
		return fmt.Errorf("visit all tasks: %w", err)
	}
	defer it.Close()
	if m == nil {
		if err := errors.Join(visitOnce(it), visitOnce(it)); err != nil {
			return fmt.Errorf("visit all tasks: %w", err)
		}
		return nil
	}
	var before int64
	for n := range maxVisits {
		if err := visitOnce(it); err != nil {
			return fmt.Errorf("visit all tasks: %w", err)
		}
		counts, err := m.read()
		if err != nil {
			return fmt.Errorf("visit all tasks: %w", err)
		}
		if n > 0 && counts[link.CountUnmarked] == before {
			return nil
		}
		before = counts[link.CountUnmarked]
	}
	return fmt.Errorf("visit all tasks: %w: the kernel has no memory for the marks of some", unix.ENOMEM)
}

func visitOnce(it *ebpflink.Iter) error {
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
	if len(l.Watchers(plan.List(taskwatch.Free))) == 0 {
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
		if counts[link.CountKnown] <= 0 || time.Now().After(end) {
			return nil
		}
	}
}

// whole returns an error where not all tasks can be visited.
func whole() error {
	if initial, err := procfs.InInitialNamespace(procfs.PIDNamespace); err == nil && !initial {
		return object.Invalid("it has watchers of attach or detach, and this process is in a pid namespace of its own, where it does not see all tasks: run it in the host's pid namespace (--pid=host)")
	}
	return nil
}
