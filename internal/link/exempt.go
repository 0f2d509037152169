package link

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/internal/offsets"
)

// Exemption is who no veto stops, so that a module that denies everything to
// everybody can be unloaded: the process that has the table, those that
// Table.Exempt names, and for forks alone, which are threads for the most
// part, what root or the owner runs of the owner's program: 'taskwatch rmmod' is
// a Go program and cannot start without threads. Their errors are counted as
// ever and deny nothing.
type Exemption struct {
	TGID      uint32    // of the owner, as the first pid namespace has it
	UID       uint32    // its effective user id, as the first user namespace has it
	Inode     uint64    // the address of its program's inode; the owner keeps it there
	Processes *ebpf.Map // task storage: see [TaskStorage]
}

// Self is what the program of [WhoAmI] writes.
type Self struct{ TGID, UID, Inode uint64 }

// The places of what Self has.
const (
	selfTGID = 8 * iota
	selfUID
	selfInode
	SelfSize // of all
)

// WhoAmI returns a program that writes down the running process, into the value of
// an array.
func WhoAmI(off *offsets.Offsets, to *ebpf.Map) asm.Instructions {
	const end = "end"
	insns := asm.Instructions{
		asm.FnGetCurrentTaskBtf.Call(),
		asm.Mov.Reg(asm.R6, asm.R0),
		asm.LoadMapValue(asm.R7, to.FD(), 0),
		asm.LoadMem(asm.R1, asm.R6, off.TaskTGID, asm.Word),
		asm.StoreMem(asm.R7, selfTGID, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R6, off.TaskRealCred, asm.DWord),
		asm.LoadMem(asm.R1, asm.R1, off.CredUID[effective], asm.Word),
		asm.StoreMem(asm.R7, selfUID, asm.R1, asm.DWord),
	}
	insns = append(insns, loadProgramInode(off, end)...)
	return append(insns,
		asm.StoreMem(asm.R7, selfInode, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol(end),
		asm.Return(),
	)
}

// loadProgramInode loads into R1 the address of the inode of the program that
// the task in R6 runs, or jumps where there is none.
func loadProgramInode(off *offsets.Offsets, none string) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R1, asm.R6, off.TaskMM, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, none),
		asm.LoadMem(asm.R1, asm.R1, off.MmExeFile, asm.DWord),
		asm.JEq.Imm(asm.R1, 0, none),
		asm.LoadMem(asm.R1, asm.R1, off.FileInode, asm.DWord),
	}
}

// effective is the index of the effective id in offsets.
const effective = 1

const exemptSymbol = "tw_exempt"

// function returns a function that dispatchers call as tw_exempt(fork): it
// returns 1 if no veto stops the running task, and else 0.
func (x *Exemption) function(off *offsets.Offsets) asm.Instructions {
	const exempt, last, no, search = "exempt_yes", "exempt_last", "exempt_no", "exempt_search"
	body := asm.Instructions{
		asm.Mov.Reg(asm.R7, asm.R1),
		asm.FnGetCurrentTaskBtf.Call(),
		asm.Mov.Reg(asm.R6, asm.R0),
		asm.LoadMem(asm.R1, asm.R6, off.TaskTGID, asm.Word),
		asm.JEq.Imm32(asm.R1, int32(x.TGID), exempt),
		asm.JEq.Imm(asm.R7, 0, last),
		asm.LoadMem(asm.R1, asm.R6, off.TaskRealCred, asm.DWord),
		asm.LoadMem(asm.R1, asm.R1, off.CredUID[effective], asm.Word),
		asm.JEq.Imm32(asm.R1, 0, "exempt_user"),
		asm.JNE.Imm32(asm.R1, int32(x.UID), last),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("exempt_user"),
	}
	body = append(body, loadProgramInode(off, last)...)
	body = append(body,
		asm.LoadImm(asm.R2, int64(x.Inode), asm.DWord),
		asm.JEq.Reg(asm.R1, asm.R2, exempt),
		asm.LoadMapPtr(asm.R1, x.Processes.FD()).WithSymbol(last),
		asm.LoadMem(asm.R2, asm.R6, off.TaskLeader, asm.DWord),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnTaskStorageGet.Call(),
		asm.JEq.Imm(asm.R0, 0, search),
		asm.Mov.Imm(asm.R0, 1).WithSymbol(exempt),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol(no),
		asm.Return(),
	)
	body = append(body, x.search(off, search, exempt, no)...)
	body[0] = startFunction(body[0], &btf.Func{
		Name: exemptSymbol,
		Type: &btf.FuncProto{Return: typeInt, Params: []btf.FuncParam{{Name: "fork", Type: typeInt}}},
	})
	return body
}

// maxStored is more maps than are likely to keep something of one task.
const maxStored = 64

// search generates what looks for the process of R6 among what maps keep of it,
// without a lock. Before Linux 6.2 the helper finds nothing while another task is in
// the middle of the same on the processor: it is preempted there, or interrupted.
// An element is freed only when no program can be running.
func (x *Exemption) search(off *offsets.Offsets, begin, found, none string) asm.Instructions {
	if off.TaskStorage == 0 {
		return asm.Instructions{asm.Ja.Label(none).WithSymbol(begin)}
	}
	const next, node, owner = "exempt_next", -8, -16 // on the stack
	// read reads eight bytes at R3 + at.
	read := func(to, at int32) asm.Instructions {
		return asm.Instructions{
			asm.Add.Imm(asm.R3, at),
			asm.Mov.Reg(asm.R1, asm.RFP),
			asm.Add.Imm(asm.R1, to),
			asm.Mov.Imm(asm.R2, 8),
			asm.FnProbeReadKernel.Call(),
		}
	}
	var body asm.Instructions
	emit := func(insns ...asm.Instruction) { body = append(body, insns...) }
	emit(
		asm.LoadMem(asm.R3, asm.R6, off.TaskLeader, asm.DWord).WithSymbol(begin),
		asm.Mov.Imm(asm.R8, maxStored),
	)
	emit(read(node, int32(off.TaskStorage))...)
	emit(
		asm.LoadMem(asm.R3, asm.RFP, node, asm.DWord),
		asm.JEq.Imm(asm.R3, 0, none),
	)
	emit(read(node, int32(off.StorageList))...)
	emit(
		asm.LoadMem(asm.R7, asm.RFP, node, asm.DWord).WithSymbol(next),
		asm.JEq.Imm(asm.R7, 0, none),
		asm.Mov.Reg(asm.R3, asm.R7),
	)
	emit(read(owner, int32(off.StorageMap))...)
	emit(
		asm.LoadMem(asm.R1, asm.RFP, owner, asm.DWord),
		asm.LoadMapPtr(asm.R2, x.Processes.FD()),
		asm.JEq.Reg(asm.R1, asm.R2, found),
		asm.Mov.Reg(asm.R3, asm.R7),
	)
	emit(read(node, 0)...)
	emit(
		asm.Sub.Imm(asm.R8, 1),
		asm.JNE.Imm(asm.R8, 0, next),
		asm.Ja.Label(none),
	)
	return body
}
