package kernel

import "github.com/cilium/ebpf/asm"

// ids says which of a task's ids an event is about.
type ids uint8

// credOffsets returns the places of those ids in the credentials.
func (g *gen) credOffsets(which ids) [4]int16 {
	if which == groupIDs {
		return g.off.CredGID
	}
	return g.off.CredUID
}

// security_task_alloc(task, clone_flags)
func loadTaskAlloc(g *gen) {
	g.arg(regTask, 0)
	g.arg(regVal, 1)
}

// task_newtask(task, clone_flags). The idle tasks made when a CPU comes up
// pass here too and have no pid.
func loadNewTask(g *gen) {
	g.arg(regTask, 0)
	g.emit(
		asm.LoadMem(asm.R1, regTask, g.off.TaskPID, asm.Word),
		asm.JEq.Imm(asm.R1, 0, g.skip),
	)
	g.arg(regVal, 1)
}

// security_task_alloc(task, clone_flags), after a veto
func loadRefusedTask(g *gen) {
	g.emit(asm.JEq.Imm(regFirst, 0, g.skip))
	g.arg(regTask, 0)
	g.emit(asm.Mov.Imm(regVal, 0))
}

// security_bprm_creds_for_exec(bprm)
func loadBprm(g *gen) {
	g.current()
	g.emit(asm.Mov.Imm(regVal, 0))
	g.arg(asm.R1, 0)
	g.emit(asm.StoreMem(asm.RFP, stackDetail, asm.R1, asm.DWord))
}

// security_bprm_creds_from_file(bprm, file), where bprm->file has become an
// interpreter: interp then is another name than that of the program.
func loadInterpreter(g *gen) {
	g.arg(asm.R1, 0)
	g.emit(
		asm.LoadMem(asm.R2, asm.R1, g.off.BprmInterp, asm.DWord),
		asm.LoadMem(asm.R3, asm.R1, g.off.BprmFilename, asm.DWord),
		asm.JEq.Reg(asm.R2, asm.R3, g.skip),
	)
	loadBprm(g)
}

// security_bprm_creds_from_file(bprm, file) and
// security_bprm_committing_creds(bprm): the new credentials are known.
func loadBprmIDs(which ids) func(*gen) {
	return func(g *gen) {
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
}

// security_task_fix_setgroups(new, old)
func loadSetGroups(g *gen) {
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
func loadCommitGroups(g *gen) {
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
func loadSyscallGroups(g *gen) {
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
	for i, off := range g.credOffsets(groupIDs) {
		g.emit(
			asm.LoadMem(asm.R3, asm.R1, off, asm.Word),
			asm.StoreMem(asm.RFP, stackNow+int16(4*i), asm.R3, asm.Word),
			asm.StoreMem(asm.RFP, stackIDs+int16(4*i), asm.R3, asm.Word),
		)
	}
	g.idsDone()
}

// unlessVetoed skips what will not happen because the dispatcher refuses it.
func unlessVetoed(load func(*gen)) func(*gen) {
	return func(g *gen) {
		if !g.dryRun {
			g.emit(asm.JNE.Imm(regFirst, 0, g.skip))
		}
		load(g)
	}
}

// sched_process_exec(task, old_pid, bprm)
func loadExec(g *gen) {
	g.arg(regTask, 0)
	g.emit(asm.Mov.Imm(regVal, 0))
	g.arg(asm.R1, 2)
	g.emit(asm.StoreMem(asm.RFP, stackDetail, asm.R1, asm.DWord))
	g.arg(asm.R1, 1)
	g.emit(asm.StoreMem(asm.RFP, stackExtra, asm.R1, asm.DWord))
}

// security_task_fix_setuid(new, old, flags), and the same for gid. They are
// also asked when nothing changes.
func loadFixIDs(which ids) func(*gen) {
	return func(g *gen) {
		g.current()
		g.emit(asm.Mov.Imm(regVal, 0))
		g.arg(asm.R1, 0)
		g.arg(asm.R2, 1)
		g.emit(asm.StoreImm(asm.RFP, stackCause, causeSyscall, asm.Word))
		g.compareCreds(which)
	}
}

// commit_creds(new): nothing can fail any more.
func loadCommit(which ids) func(*gen) {
	return func(g *gen) {
		g.current()
		g.emit(asm.Mov.Imm(regVal, 0))
		g.cause()
		g.arg(asm.R1, 0)
		g.emit(asm.LoadMem(asm.R2, regTask, g.off.TaskRealCred, asm.DWord))
		g.compareCreds(which)
	}
}

// sched_process_exec(task, old_pid, bprm), for which sched_prepare_exec has put
// the old ids aside, under old_pid.
func loadExecIDs(which ids) func(*gen) {
	return func(g *gen) {
		g.arg(regTask, 0)
		g.arg(asm.R1, 1)
		g.emit(
			asm.StoreMem(asm.RFP, stackKey, asm.R1, asm.Word),
			asm.Mov.Imm(regVal, 0),
			asm.StoreImm(asm.RFP, stackCause, causeExec, asm.Word),
		)
		g.compareStash(which, int16(which)*idsSize)
		g.emit(asm.JEq.Imm(asm.R5, 0, g.skip))
		g.idsDone()
	}
}

// The exit of a set*id system call, whose entry put the old ids aside.
func loadSyscallIDs(which ids) func(*gen) {
	return func(g *gen) {
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
}

// sched_process_exit(task)
func loadExit(g *gen) {
	g.arg(regTask, 0)
	g.emit(asm.LoadMem(regVal, regTask, g.off.TaskExitCode, asm.Word))
}

// security_task_free(task) and sched_process_free(task). A task whose fork
// failed never was in an exit state; its exit code is a copy of the parent's.
func loadFree(g *gen) {
	g.arg(regTask, 0)
	g.emit(
		asm.LoadMem(regVal, regTask, g.off.TaskExitState, asm.Word),
		asm.JEq.Imm(regVal, 0, g.label("forked")),
		asm.LoadMem(regVal, regTask, g.off.TaskExitCode, asm.Word),
	)
	g.mark(g.label("forked"))
}
