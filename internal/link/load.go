package link

import (
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/plan"
)

// The loaders below generate the code that takes an event out of the hook's
// arguments. The context of all but the system-call tracepoints is an array
// of the arguments, eight bytes each.

// load generates the loader of a call.
func (g *gen) load(c plan.Call) {
	switch c.Load {
	case plan.LoadTaskAlloc:
		g.loadTaskAlloc()
	case plan.LoadDenied:
		g.loadDenied()
	case plan.LoadNewTask:
		g.loadNewTask()
	case plan.LoadBprm:
		g.loadBprm()
	case plan.LoadInterpreter:
		g.loadInterpreter()
	case plan.LoadStep:
		g.loadStep()
	case plan.LoadBprmIDs:
		g.loadBprmIDs(c.IDs())
	case plan.LoadExec:
		g.loadExec()
	case plan.LoadExecIDs:
		g.loadExecIDs(c.IDs())
	case plan.LoadFixIDs:
		g.loadFixIDs(c.IDs())
	case plan.LoadFixGroups:
		g.loadFixGroups()
	case plan.LoadCommitIDs:
		g.loadCommitIDs(c.IDs())
	case plan.LoadCommitGroups:
		g.loadCommitGroups()
	case plan.LoadSyscallIDs:
		g.loadSyscallIDs(c.IDs())
	case plan.LoadSyscallGroups:
		g.loadSyscallGroups()
	case plan.LoadExit:
		g.loadExit()
	case plan.LoadFree:
		g.loadFree()
	}
}

// security_task_alloc(task, clone_flags)
func (g *gen) loadTaskAlloc() {
	g.arg(regTask, 0)
	g.arg(regVal, 1)
}

// task_newtask(task, clone_flags). The idle tasks made when a CPU comes up
// pass here too and have no pid.
func (g *gen) loadNewTask() {
	g.arg(regTask, 0)
	g.emit(
		asm.LoadMem(asm.R1, regTask, g.off.TaskPID, asm.Word),
		asm.JEq.Imm(asm.R1, 0, g.skip),
	)
	g.arg(regVal, 1)
}

// security_task_alloc(task, clone_flags), after a veto
func (g *gen) loadDenied() {
	g.emit(asm.JEq.Imm(regFirst, 0, g.skip))
	g.arg(regTask, 0)
	g.emit(asm.Mov.Imm(regVal, 0))
}

// security_bprm_creds_for_exec(bprm)
func (g *gen) loadBprm() {
	g.current()
	g.emit(asm.Mov.Imm(regVal, 0))
	g.arg(asm.R1, 0)
	g.emit(asm.StoreMem(asm.RFP, stackDetail, asm.R1, asm.DWord))
}

// security_bprm_creds_from_file(bprm, file), where bprm->file has become an
// interpreter: interp then is another name than that of the program.
func (g *gen) loadInterpreter() {
	g.arg(asm.R1, 0)
	g.emit(
		asm.LoadMem(asm.R2, asm.R1, g.off.BprmInterp, asm.DWord),
		asm.LoadMem(asm.R3, asm.R1, g.off.BprmFilename, asm.DWord),
		asm.JEq.Reg(asm.R2, asm.R3, g.skip),
	)
	g.loadBprm()
}

// security_bprm_check(bprm): once for the program and for each interpreter. Of the
// program, interp is the same name. The number of a step that follows is one more than
// that of the step before, which the task's storage has; without memory for that it is
// not known. Where the first program of a chain did not get at the storage, a later one
// may find the number of the step before; it is never that of the program.
func (g *gen) loadStep() {
	const unknown = -1
	program, counted := g.label("program"), g.label("counted")
	g.current()
	g.emit(
		asm.LoadMapPtr(asm.R1, g.steps.FD()),
		asm.Mov.Reg(asm.R2, regTask),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, unix.BPF_LOCAL_STORAGE_GET_F_CREATE),
		asm.FnTaskStorageGet.Call(),
		asm.Mov.Imm(regVal, 0),
	)
	g.arg(asm.R1, 0)
	g.emit(
		asm.StoreMem(asm.RFP, stackDetail, asm.R1, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, g.off.BprmInterp, asm.DWord),
		asm.LoadMem(asm.R3, asm.R1, g.off.BprmFilename, asm.DWord),
		asm.JEq.Reg(asm.R2, asm.R3, program),
		asm.Mov.Imm(regVal, unknown),
		asm.JEq.Imm(asm.R0, 0, counted),
		asm.LoadMem(regVal, asm.R0, 0, asm.Word),
	)
	if g.first {
		g.emit(
			asm.Add.Imm(regVal, 1),
			asm.StoreMem(asm.R0, 0, regVal, asm.Word),
		)
	} else {
		g.emit(
			asm.JNE.Imm(regVal, 0, counted),
			asm.Mov.Imm(regVal, unknown),
		)
	}
	g.emit(asm.Ja.Label(counted))
	g.mark(program)
	g.emit(
		asm.JEq.Imm(asm.R0, 0, counted),
		asm.StoreMem(asm.R0, 0, regVal, asm.Word),
	)
	g.mark(counted)
}

// security_bprm_creds_from_file(bprm, file) and
// security_bprm_committing_creds(bprm): the new credentials are known.
func (g *gen) loadBprmIDs(which plan.IDs) {
	g.current()
	g.emit(asm.Mov.Imm(regVal, 0))
	g.arg(asm.R1, 0)
	g.emit(
		asm.LoadMem(asm.R1, asm.R1, g.off.BprmCred, asm.DWord),
		asm.LoadMem(asm.R2, regTask, g.off.TaskRealCred, asm.DWord),
		asm.StoreImm(asm.RFP, stackCause, causeExec, asm.Word),
	)
	g.compareCreds(which)
}

// security_task_fix_setgroups(new, old)
func (g *gen) loadFixGroups() {
	g.current()
	g.arg(asm.R1, 0)
	g.emit(
		asm.LoadMem(asm.R1, asm.R1, g.off.CredGroups, asm.DWord),
		asm.StoreMem(asm.RFP, stackExtra, asm.R1, asm.DWord),
	)
	g.setGroups()
}

// commit_creds(new): nothing but setgroups puts another list into credentials,
// and it always makes a new one.
func (g *gen) loadCommitGroups() {
	g.current()
	g.arg(asm.R1, 0)
	g.emit(
		asm.LoadMem(asm.R2, regTask, g.off.TaskRealCred, asm.DWord),
		asm.LoadMem(asm.R1, asm.R1, g.off.CredGroups, asm.DWord),
		asm.LoadMem(asm.R2, asm.R2, g.off.CredGroups, asm.DWord),
		asm.JEq.Reg(asm.R1, asm.R2, g.skip),
		asm.StoreMem(asm.RFP, stackExtra, asm.R1, asm.DWord),
	)
	g.setGroups()
}

// The exit of setgroups, whose result stands behind the number of the call.
func (g *gen) loadSyscallGroups() {
	g.arg(asm.R1, 2)
	g.emit(asm.JNE.Imm(asm.R1, 0, g.skip))
	g.current()
	g.setGroups()
}

// setGroups fills in the ids of the running task, which setgroups leaves alone.
func (g *gen) setGroups() {
	g.emit(
		asm.Mov.Imm(regVal, 0),
		asm.StoreImm(asm.RFP, stackCause, causeSetGroups, asm.Word),
		asm.LoadMem(asm.R1, regTask, g.off.TaskRealCred, asm.DWord),
	)
	for i, off := range g.credOffsets(plan.GroupIDs) {
		g.emit(
			asm.LoadMem(asm.R3, asm.R1, off, asm.Word),
			asm.StoreMem(asm.RFP, stackNow+int16(4*i), asm.R3, asm.Word),
			asm.StoreMem(asm.RFP, stackIDs+int16(4*i), asm.R3, asm.Word),
		)
	}
	g.idsDone()
}

// sched_process_exec(task, old_pid, bprm)
func (g *gen) loadExec() {
	g.arg(regTask, 0)
	g.emit(asm.Mov.Imm(regVal, 0))
	g.arg(asm.R1, 2)
	g.emit(asm.StoreMem(asm.RFP, stackDetail, asm.R1, asm.DWord))
	g.arg(asm.R1, 1)
	g.emit(asm.StoreMem(asm.RFP, stackExtra, asm.R1, asm.DWord))
}

// security_task_fix_setuid(new, old, flags), and the same for gid. They are
// also asked when nothing changes.
func (g *gen) loadFixIDs(which plan.IDs) {
	g.current()
	g.emit(asm.Mov.Imm(regVal, 0))
	g.arg(asm.R1, 0)
	g.arg(asm.R2, 1)
	g.emit(asm.StoreImm(asm.RFP, stackCause, causeSyscall, asm.Word))
	g.compareCreds(which)
}

// commit_creds(new): nothing can fail any more.
func (g *gen) loadCommitIDs(which plan.IDs) {
	g.current()
	g.emit(asm.Mov.Imm(regVal, 0))
	g.cause()
	g.arg(asm.R1, 0)
	g.emit(asm.LoadMem(asm.R2, regTask, g.off.TaskRealCred, asm.DWord))
	g.compareCreds(which)
}

// sched_process_exec(task, old_pid, bprm), for which sched_prepare_exec has put
// the old ids aside, under old_pid.
func (g *gen) loadExecIDs(which plan.IDs) {
	g.arg(regTask, 0)
	g.arg(asm.R1, 1)
	g.emit(
		asm.StoreMem(asm.RFP, stackKey, asm.R1, asm.Word),
		asm.Mov.Imm(regVal, 0),
		asm.StoreImm(asm.RFP, stackCause, causeExec, asm.Word),
	)
	g.compareStash(which, int16(which)*IDsSize)
	g.emit(asm.JEq.Imm(asm.R5, 0, g.skip))
	g.idsDone()
}

// The exit of a set*id system call, whose entry put the old ids aside.
func (g *gen) loadSyscallIDs(which plan.IDs) {
	g.current()
	g.stashKey()
	g.emit(
		asm.Mov.Imm(regVal, 0),
		asm.StoreImm(asm.RFP, stackCause, causeSyscall, asm.Word),
	)
	g.compareStash(which, 0)
	if g.last {
		g.dropStash()
	}
	g.emit(asm.JEq.Imm(asm.R5, 0, g.skip))
	g.idsDone()
}

// sched_process_exit(task)
func (g *gen) loadExit() {
	g.arg(regTask, 0)
	g.emit(asm.LoadMem(regVal, regTask, g.off.TaskExitCode, asm.Word))
}

// security_task_free(task) and sched_process_free(task). A task whose fork
// failed never was in an exit state; its exit code is a copy of the parent's.
func (g *gen) loadFree() {
	g.arg(regTask, 0)
	g.emit(
		asm.LoadMem(regVal, regTask, g.off.TaskExitState, asm.Word),
		asm.JEq.Imm(regVal, 0, g.label("forked")),
		asm.LoadMem(regVal, regTask, g.off.TaskExitCode, asm.Word),
	)
	g.mark(g.label("forked"))
}
