package link

import (
	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch/internal/plan"
)

// IDsSize is the size of the ids of one kind, in bytes.
const IDsSize = 16

// credOffsets returns the places of those ids in the credentials.
func (g *gen) credOffsets(which plan.IDs) [4]int16 {
	if which == plan.GroupIDs {
		return g.off.CredGID
	}
	return g.off.CredUID
}

// compareCreds fills in the ids from the new struct cred in R1 and the old one
// in R2, and skips the event where they are the same.
func (g *gen) compareCreds(which plan.IDs) {
	g.emit(asm.Mov.Imm(asm.R5, 0))
	for i, off := range g.credOffsets(which) {
		g.emit(
			asm.LoadMem(asm.R3, asm.R1, off, asm.Word),
			asm.StoreMem(asm.RFP, stackNow+int16(4*i), asm.R3, asm.Word),
			asm.LoadMem(asm.R4, asm.R2, off, asm.Word),
			asm.StoreMem(asm.RFP, stackIDs+int16(4*i), asm.R4, asm.Word),
			asm.Xor.Reg(asm.R3, asm.R4),
			asm.Or.Reg(asm.R5, asm.R3),
		)
	}
	g.emit(asm.JEq.Imm(asm.R5, 0, g.skip))
	g.idsDone()
}

// compareStash is compareCreds for the task's own credentials against the ids
// that were put aside under the key on the stack, from a place on. It leaves in R5
// whether any of them is another.
func (g *gen) compareStash(which plan.IDs, at int16) {
	g.emit(
		asm.LoadMapPtr(asm.R1, g.stash.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, g.skip),
		asm.LoadMem(asm.R1, regTask, g.off.TaskRealCred, asm.DWord),
		asm.Mov.Imm(asm.R5, 0),
	)
	for i, off := range g.credOffsets(which) {
		g.emit(
			asm.LoadMem(asm.R3, asm.R1, off, asm.Word),
			asm.StoreMem(asm.RFP, stackNow+int16(4*i), asm.R3, asm.Word),
			asm.LoadMem(asm.R4, asm.R0, at+int16(4*i), asm.Word),
			asm.StoreMem(asm.RFP, stackIDs+int16(4*i), asm.R4, asm.Word),
			asm.Xor.Reg(asm.R3, asm.R4),
			asm.Or.Reg(asm.R5, asm.R3),
		)
	}
}

// dropStash forgets what was put aside under the key on the stack. It keeps R5.
func (g *gen) dropStash() {
	g.emit(
		asm.StoreMem(asm.RFP, stackExtra, asm.R5, asm.DWord),
		asm.LoadMapPtr(asm.R1, g.stash.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapDeleteElem.Call(),
		asm.LoadMem(asm.R5, asm.RFP, stackExtra, asm.DWord),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, stackExtra, asm.R1, asm.DWord),
	)
}

// storeStash puts ids of the running task aside under its id.
func (g *gen) storeStash(kinds ...plan.IDs) {
	g.current()
	g.stashKey()
	g.emit(asm.LoadMem(asm.R1, regTask, g.off.TaskRealCred, asm.DWord))
	for n, which := range kinds {
		for i, off := range g.credOffsets(which) {
			g.emit(
				asm.LoadMem(asm.R3, asm.R1, off, asm.Word),
				asm.StoreMem(asm.RFP, stackIDs+int16(n*IDsSize+4*i), asm.R3, asm.Word),
			)
		}
	}
	g.emit(
		asm.LoadMapPtr(asm.R1, g.stash.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackKey),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, stackIDs),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnMapUpdateElem.Call(),
	)
}

// stashKey puts the running task's id on the stack, as a key.
func (g *gen) stashKey() {
	g.emit(
		asm.FnGetCurrentPidTgid.Call(),
		asm.StoreMem(asm.RFP, stackKey, asm.R0, asm.Word),
	)
}

func (g *gen) idsDone() {
	g.emit(
		asm.StoreImm(asm.RFP, stackCause+4, 0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, stackIDs),
		asm.StoreMem(asm.RFP, stackDetail, asm.R1, asm.DWord),
	)
}
