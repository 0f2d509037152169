package link

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// Marks say of each task what a module with attach or detach has been told of
// it. A mark is set at init, and for a task that exists already by an iterator,
// or by the first event that comes before that: whoever sets it calls. A task
// between security_task_alloc() and the list of pids, when the module comes, is
// seen at neither end; it meets its mark at clone.
type Marks struct {
	Tasks  *ebpf.Map // see [TaskStorage]
	Counts *ebpf.Map // one value of NumCounts times eight bytes
}

// The counters of marks, each of eight bytes.
const (
	CountUnmarked = iota // tasks that the iterator could not mark, each time
	CountKnown           // tasks that are known and not gone
	NumCounts
)

// The bits of a mark.
const (
	markKnown = 1 << iota // init or attach has been called
	markGone              // free or detach has been called, or would have been
)

// TaskStorage describes a map that has a number for each task.
func TaskStorage(name string) *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: name, Type: ebpf.TaskStorage, KeySize: 4, ValueSize: 4,
		Flags: unix.BPF_F_NO_PREALLOC, Key: typeInt, Value: typeInt,
	}
}

// findMark loads the address of the task's mark into R0, or jumps where there can
// be none for lack of memory, or because another task was interrupted in the middle
// of the same; before Linux 6.2 also where there is one, in the latter case.
func (g *gen) findMark(m *Marks, none string) {
	g.emit(
		asm.LoadMapPtr(asm.R1, m.Tasks.FD()),
		asm.Mov.Reg(asm.R2, regTask),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, unix.BPF_LOCAL_STORAGE_GET_F_CREATE),
		asm.FnTaskStorageGet.Call(),
		asm.JEq.Imm(asm.R0, 0, none),
	)
}

// countMark adds to a counter of the marks. It uses R1 and R2.
func (g *gen) countMark(m *Marks, which int, n int32) {
	g.emit(
		asm.LoadMapValue(asm.R1, m.Counts.FD(), uint32(8*which)),
		asm.Mov.Imm(asm.R2, n),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
	)
}

// setMark sets a bit of the mark at R0, and leaves in R2 what it was before.
func (g *gen) setMark(bit int32) {
	or := asm.FetchOr.Mem(asm.R0, asm.R2, asm.Word, 0)
	or.Constant = fetchOr
	g.emit(asm.Mov.Imm(asm.R2, bit), or)
}

// fetchOr is BPF_OR | BPF_FETCH. The library writes an instruction's constant, and
// fills that of an atomic operation in too late.
const fetchOr = 0x41

// gate generates what comes before the module's watchers of an event: it skips
// them unless the task is one that the module knows, and has not been told the
// end of. A task that the module has to know and does not yet is attached.
func (lk *Linker) gate(g *gen, c plan.Call, l *Module, skip, report string) error {
	known := g.label(fmt.Sprintf("known%d", l.ID))
	switch c.Kind {
	case taskwatch.Init:
		none := skip // clone will mark it
		if l.Decides(taskwatch.Init) {
			none = known // a decision is never left out
		}
		g.findMark(l.Marks, none)
		g.setMark(markKnown)
		g.emit(asm.JNE.Imm(asm.R2, 0, skip))
		g.countMark(l.Marks, CountKnown, 1)
	case taskwatch.Free:
		const notFound = -2 // ENOENT
		unsure := g.label(fmt.Sprintf("unsure%d", l.ID))
		g.findMark(l.Marks, unsure)
		g.setMark(markGone)
		ours := g.label(fmt.Sprintf("ours%d", l.ID))
		g.emit(
			asm.JNE.Imm(asm.R2, markKnown, skip),
			asm.Ja.Label(ours),
		)
		// A task without references gets no mark any more. Where the kernel
		// says that it had none, it was not known; where it says that it is
		// busy, it most probably was.
		g.mark(unsure)
		g.emit(
			asm.LoadMapPtr(asm.R1, l.Marks.Tasks.FD()),
			asm.Mov.Reg(asm.R2, regTask),
			asm.FnTaskStorageDelete.Call(),
			asm.JEq.Imm(asm.R0, notFound, skip),
		)
		g.mark(ours)
		g.countMark(l.Marks, CountKnown, -1)
	default:
		attach := g.label(fmt.Sprintf("attach%d", l.ID))
		none := known
		if g.off.StorageFound && !l.Decides(c.Kind) {
			none = skip // it is not known, and a later event or the iterator attaches it
		}
		g.findMark(l.Marks, none)
		g.setMark(markKnown)
		g.emit(
			asm.JEq.Imm(asm.R2, 0, attach),
			asm.JNE.Imm(asm.R2, markKnown, skip),
			asm.Ja.Label(known),
		)
		g.mark(attach)
		g.countMark(l.Marks, CountKnown, 1)
		g.emit(
			asm.StoreMem(asm.RFP, stackVal, regVal, asm.DWord),
			asm.Mov.Imm(regVal, 0),
		)
		if err := lk.callList(g, l, plan.Attach, report); err != nil {
			return err
		}
		g.emit(asm.LoadMem(regVal, asm.RFP, stackVal, asm.DWord))
	}
	g.mark(known)
	return nil
}

// callList generates the calls of a module's functions of attach or detach. Their
// errors are counted and reported.
func (lk *Linker) callList(g *gen, l *Module, e plan.List, report string) error {
	for i := range l.Watched[e] {
		w := &l.Watched[e][i]
		symbol, err := lk.need(l, w.Symbol)
		if err != nil {
			return err
		}
		g.watcher(symbol, w, taskwatch.Kind(e), false, false, lk.Stats, l.Timing, report)
	}
	return nil
}
