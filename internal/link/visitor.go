package link

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch/internal/plan"
)

// Iterator is where attach and detach are called: the kernel runs its program for
// each task when a file is read. Its context is that of struct bpf_iter__task.
var Iterator = &plan.Hook{Name: "iter/task", Type: ebpf.Tracing, Attach: ebpf.AttachTraceIter, Target: "task"}

// Visitor links the program that calls a module's functions of one list for the
// task that it is run for.
func (lk *Linker) Visitor(l *Module, e plan.List) (asm.Instructions, error) {
	used := newUsage(lk)
	if !used.addList(l, e) {
		return nil, used.fits(lk, l, e)
	}
	lk.bodies, lk.linked = nil, map[string]bool{}
	report, err := lk.provider(func(o *Code) string { return o.Report })
	if err != nil {
		return nil, err
	}
	g := &gen{off: lk.Off}
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
	switch {
	case l.Marks == nil:
	case e == plan.Attach:
		g.findMark(l.Marks, failed)
		g.setMark(markKnown)
		g.emit(asm.JNE.Imm(asm.R2, 0, skip))
		g.countMark(l.Marks, CountKnown, 1)
	default:
		g.findMark(l.Marks, failed)
		g.setMark(markGone)
		g.emit(asm.JNE.Imm(asm.R2, markKnown, skip))
		g.countMark(l.Marks, CountKnown, -1)
	}
	if err := lk.callList(g, l, e, report); err != nil {
		return nil, err
	}
	if l.Marks != nil {
		g.emit(asm.Ja.Label(skip))
		g.mark(failed)
		g.countMark(l.Marks, CountUnmarked, 1)
	}
	g.mark(skip)
	g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return lk.finish(g), nil
}
