package link

import (
	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch/internal/offsets"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// Entry returns the program that is attached to a hook: it calls the one in the
// first slot, if there is one.
func Entry(stats, slot asm.FDer) asm.Instructions {
	g := &gen{}
	g.emit(asm.Mov.Reg(regCtx, asm.R1))
	g.tailCall(stats, slot, 0)
	g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return()) // the slot is empty
	return g.insns
}

// PutAside returns the program that puts ids of the running task into stash: a
// map with the task's id as its key, and as its value IDsSize bytes for each of
// kinds.
func PutAside(off *offsets.Offsets, stash asm.FDer, kinds ...plan.IDs) asm.Instructions {
	g := &gen{off: off, stash: stash}
	g.storeStash(kinds...)
	g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
	return g.insns
}
