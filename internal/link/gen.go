package link

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/offsets"
)

// The registers of a dispatcher; helpers and watchers leave them alone.
const (
	regCtx   = asm.R6
	regFirst = asm.R7 // the first veto, or 0
	regTask  = asm.R8
	regVal   = asm.R9
)

// The stack of a dispatcher, as offsets from the frame pointer.
const (
	stackDetail = -8  // the third argument of watchers: bprm, struct task_ids *, or 0
	stackExtra  = -16 // the fourth: on exec the task's id before it, of a setgroups that is not done yet the list, or 0
	stackIDs    = -56 // struct task_ids
	stackNow    = stackIDs + 16
	stackCause  = stackIDs + 32
	stackKey    = -64
	stackStart  = -72 // of a watcher that is timed
	stackResult = -80 // of a watcher
	stackVal    = -88 // val, while attach is called
)

// TASK_CAUSE_* of the header.
const (
	causeSyscall   = 1
	causeExec      = 2
	causeSetGroups = 3
)

// gen collects the instructions of one dispatcher. A loader leaves the event
// in regTask, regVal, stackDetail and stackExtra, or jumps to skip if there is
// none after all. It may use R0 to R5.
type gen struct {
	insns   asm.Instructions
	off     *offsets.Offsets
	stash   asm.FDer // for hooks on system calls
	steps   asm.FDer // for hooks that count steps
	first   bool     // no stage comes before
	last    bool     // no stage follows
	dryRun  bool     // a veto denies nothing
	skip    string
	prefix  string // of labels
	pending string // label for the next instruction
}

func (g *gen) emit(insns ...asm.Instruction) {
	for _, ins := range insns {
		if g.pending != "" {
			ins = ins.WithSymbol(g.pending)
			g.pending = ""
		}
		g.insns = append(g.insns, ins)
	}
}

func (g *gen) label(name string) string { return g.prefix + name }

// mark puts a label before whatever comes next.
func (g *gen) mark(label string) {
	if g.pending != "" {
		g.emit(asm.Mov.Reg(regCtx, regCtx)) // an instruction has one label only
	}
	g.pending = label
}

// arg loads the hook's n-th argument.
func (g *gen) arg(to asm.Register, n int) {
	g.emit(asm.LoadMem(to, regCtx, int16(8*n), asm.DWord))
}

// current loads the running task.
func (g *gen) current() {
	g.emit(asm.FnGetCurrentTaskBtf.Call(), asm.Mov.Reg(regTask, asm.R0))
}

// cause finds out whether the running task is in an execve.
func (g *gen) cause() {
	if g.off.InExecveBit == 0 {
		g.emit(asm.StoreImm(asm.RFP, stackCause, 0, asm.Word))
		return
	}
	g.emit(
		asm.LoadMem(asm.R1, regTask, g.off.InExecve, asm.Byte),
		asm.And.Imm(asm.R1, g.off.InExecveBit),
		asm.Mov.Imm(asm.R2, causeSyscall),
		asm.JEq.Imm(asm.R1, 0, g.label("cause")),
		asm.Mov.Imm(asm.R2, causeExec),
	)
	g.mark(g.label("cause"))
	g.emit(asm.StoreMem(asm.RFP, stackCause, asm.R2, asm.Word))
}

// The counters of one watcher, in the map of statistics.
const (
	StatErrors = iota // results below 0
	StatVetoes        // of them, those that denied the operation
	NumStats

	StatSize = 8 * NumStats
)

// maxErrno is the largest number of an error that programs may get to see. The
// kernel keeps those from 512 on for itself: ERESTARTSYS is the first.
const maxErrno = 511

// watcher generates the call of one watcher of k and the handling of its
// error, which denies nothing to exempt tasks. The call is counted in timing,
// unless that is nil.
func (g *gen) watcher(symbol string, w *Watcher, k taskwatch.Kind, decides, exempt bool, stats, timing asm.FDer, report string) {
	next := g.label(fmt.Sprintf("next%d", w.ID))
	inRange := g.label(fmt.Sprintf("range%d", w.ID))
	later := g.label(fmt.Sprintf("later%d", w.ID))
	if timing != nil {
		g.startTiming()
	}
	g.emit(
		asm.Mov.Reg(asm.R1, regVal),
		asm.Mov.Reg(asm.R2, regTask),
		asm.LoadMem(asm.R3, asm.RFP, stackDetail, asm.DWord),
		asm.LoadMem(asm.R4, asm.RFP, stackExtra, asm.DWord),
		asm.Call.Label(symbol),
		// An int is the lower half of the register.
		asm.LSh.Imm(asm.R0, 32),
		asm.ArSh.Imm(asm.R0, 32),
	)
	if timing != nil {
		g.endTiming(timing, w.Index, g.label(fmt.Sprintf("counted%d", w.ID)))
	}
	g.emit(
		asm.JSGE.Imm(asm.R0, 0, next),
		asm.JSGE.Imm(asm.R0, -maxErrno, inRange),
		asm.Mov.Imm(asm.R0, -1), // no errno: -EPERM
	)
	g.mark(inRange)
	g.emit(asm.Mov.Imm(asm.R5, 0))
	if decides {
		flags := int64(ReportVeto)
		if g.dryRun {
			flags |= ReportDryRun
		}
		g.emit(
			asm.JNE.Imm(regFirst, 0, later),
		)
		if exempt {
			fork := int32(0)
			if k == taskwatch.Init {
				fork = 1
			}
			g.emit(
				asm.StoreMem(asm.RFP, stackResult, asm.R0, asm.DWord),
				asm.Mov.Imm(asm.R1, fork),
				asm.Call.Label(exemptSymbol),
				asm.Mov.Reg(asm.R1, asm.R0),
				asm.LoadMem(asm.R0, asm.RFP, stackResult, asm.DWord),
				asm.Mov.Imm(asm.R5, 0),
				asm.JNE.Imm(asm.R1, 0, later),
			)
		}
		g.emit(
			asm.Mov.Reg(regFirst, asm.R0),
			asm.LoadImm(asm.R5, flags<<reportFlags, asm.DWord),
		)
		g.count(stats, w.Slot, StatVetoes)
		g.mark(later)
	}
	g.count(stats, w.Slot, StatErrors)
	if report != "" {
		g.emit(
			asm.Mov.Reg(asm.R1, regVal),
			asm.Mov.Reg(asm.R2, regTask),
			asm.LoadImm(asm.R3, int64(w.ID)|int64(k)<<reportEvent, asm.DWord),
			asm.Or.Reg(asm.R3, asm.R5),
			asm.Mov.Reg(asm.R4, asm.R0),
			asm.LoadMem(asm.R5, asm.RFP, stackDetail, asm.DWord),
			asm.Call.Label(report),
		)
	}
	g.mark(next)
}

// takeCarried loads the veto of the stages before this one.
func (g *gen) takeCarried(carry asm.FDer) {
	g.stashKey()
	g.emit(
		asm.LoadMapPtr(asm.R1, carry.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "carried"),
		asm.LoadMem(regFirst, asm.R0, 0, asm.DWord),
		// The verifier has to see that it is an errno.
		asm.JSGT.Imm(regFirst, -1, "nocarry"),
		asm.JSGE.Imm(regFirst, -maxErrno, "carried"),
	)
	g.mark("nocarry")
	g.emit(asm.Mov.Imm(regFirst, 0))
	g.mark("carried")
}

// carry hands a veto on to the next stage.
func (g *gen) carry(carry asm.FDer) {
	g.emit(asm.JEq.Imm(regFirst, 0, "handed"))
	g.stashKey()
	g.emit(
		asm.StoreMem(asm.RFP, stackDetail, regFirst, asm.DWord),
		asm.LoadMapPtr(asm.R1, carry.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackKey),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, stackDetail),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
	)
	g.mark("handed")
}

// dropCarried forgets a veto that was handed on.
func (g *gen) dropCarried(carry asm.FDer) {
	g.emit(asm.JEq.Imm(regFirst, 0, "dropped"))
	g.stashKey()
	g.emit(
		asm.LoadMapPtr(asm.R1, carry.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapDeleteElem.Call(),
	)
	g.mark("dropped")
}

// tailCall goes on with the program in a slot, if there is one.
//
// The index is hidden from the verifier behind a word that is always 0, the
// first of the counters. An index known to be constant would make the kernel
// turn the tail call into a jump and patch its code at every swap, on all
// CPUs, in the middle of whatever runs: too much for modules that come and go,
// for the 10 or 20 ns an event that it saves.
func (g *gen) tailCall(stats, slot asm.FDer, index int) {
	g.emit(
		asm.Mov.Reg(asm.R1, regCtx),
		asm.LoadMapPtr(asm.R2, slot.FD()),
		asm.LoadMapValue(asm.R3, stats.FD(), 0),
		asm.LoadMem(asm.R3, asm.R3, 0, asm.Word),
		asm.Add.Imm(asm.R3, int32(index)),
		asm.FnTailCall.Call(),
	)
}

// count adds one to a counter. It leaves R0 and R5 alone.
func (g *gen) count(stats asm.FDer, slot, which int) {
	g.emit(
		asm.LoadMapValue(asm.R1, stats.FD(), uint32(slot*StatSize+which*8)),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
	)
}

// checkLatch generates the jump to skip while a module is not called.
func (g *gen) checkLatch(latches asm.FDer, latch int, skip string) {
	g.emit(
		asm.LoadMapValue(asm.R1, latches.FD(), uint32(latch)),
		asm.LoadMem(asm.R1, asm.R1, 0, asm.Byte),
		asm.JEq.Imm(asm.R1, 0, skip),
	)
}
