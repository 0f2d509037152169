package kernel

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch"
)

// hook is one place in the kernel where a dispatcher runs, and what it calls
// there.
type hook struct {
	name   string // as the sections of BPF objects are named: "lsm/task_alloc"
	typ    ebpf.ProgramType
	attach ebpf.AttachType
	target string
	veto   bool // the dispatcher's result refuses the operation
	calls  []call

	// syscalls are the system calls whose tracepoints the hook consists of;
	// for others it is empty. At their entry the old ids are put aside.
	syscalls  []string
	ids       ids  // which, there
	stateless bool // nothing is put aside: their results say enough

	// before is a tracepoint that an exec passes earlier, or "". The old ids are
	// put aside there.
	before string
}

// guarded reports whether the kernel passes by the hook's program while another
// task is inside on the same processor. What runs at tracepoints cannot be
// preempted; what an interrupt causes there is missed as well, and counted.
func (h *hook) guarded() bool { return h.typ != ebpf.LSM }

// interruptible reports whether what is inside can be preempted.
func (h *hook) interruptible() bool {
	return h.attach == ebpf.AttachModifyReturn || h.attach == ebpf.AttachTraceFEntry
}

// call is one event in a dispatcher.
type call struct {
	kind taskwatch.Kind
	to   audience
	load func(*gen) // see gen
}

// entry is the list whose watchers it calls.
func (c call) entry() entry {
	if c.to == afterwards {
		return execedEntry
	}
	return entry(c.kind)
}

// attaches reports whether a task that a module does not know yet is attached
// first: at init it is the module that gets to know it, and at free it is too late.
func (c call) attaches() bool { return c.kind != taskwatch.Init && c.kind != taskwatch.Free }

// audience says which watchers a call reaches. Deciders are the watchers of
// modules that declare MODULE_VETO for the event. Where the decision about an
// operation and its success are two hooks, each watcher is called in one of
// them.
type audience uint8

const (
	everyone   audience = iota // decision and fact are one moment
	deciders                   // the decision
	observers                  // the fact
	onceVetoed                 // everyone, after the dispatcher has refused
	afterwards                 // everyone, at the entry that follows an exec
)

// reaches reports whether the audience can include a watcher.
func (a audience) reaches(decider bool) bool {
	switch a {
	case deciders:
		return decider
	case observers:
		return !decider
	}
	return true
}

// ids says which of a task's ids an event is about.
type ids uint8

const (
	userIDs ids = iota
	groupIDs

	idsSize = 16 // of those of one kind, in bytes
)

func (o *offsets) of(which ids) [4]int16 {
	if which == groupIDs {
		return o.credGID
	}
	return o.credUID
}

// plan chooses the hooks of a table for what the kernel supports, best tier
// first.
func plan(s *Support) []*hook {
	tp := func(name string, calls ...call) *hook {
		return &hook{name: "tp_btf/" + name, typ: ebpf.Tracing, attach: ebpf.AttachTraceRawTp, target: name, calls: calls}
	}
	fentry := func(name string, calls ...call) *hook {
		return &hook{name: "fentry/" + name, typ: ebpf.Tracing, attach: ebpf.AttachTraceFEntry, target: name, calls: calls}
	}
	lsm := func(name string, veto bool, calls ...call) *hook {
		return &hook{name: "lsm/" + name, typ: ebpf.LSM, attach: ebpf.AttachLSMMac, target: name, veto: veto, calls: calls}
	}
	// decide is the hook where one of security_*() is asked.
	decide := func(name string, calls ...call) *hook {
		switch {
		case s.LSM == nil:
			return lsm(name, true, calls...)
		case s.ModifyReturn == nil:
			return &hook{name: "fmod_ret/security_" + name, typ: ebpf.Tracing, attach: ebpf.AttachModifyReturn,
				target: "security_" + name, veto: true, calls: calls}
		}
		return nil
	}
	var hooks []*hook
	add := func(h *hook) bool {
		if h != nil {
			hooks = append(hooks, h)
		}
		return h != nil
	}

	// init and clone. At task_newtask the fork can no longer fail and the
	// child does not run yet.
	forked := tp("task_newtask")
	initCalls := []call{{taskwatch.Init, everyone, loadTaskAlloc}}
	if s.LSM != nil {
		// A fork refused here never reaches security_task_free().
		initCalls = append(initCalls, call{taskwatch.Free, onceVetoed, loadRefusedTask})
	}
	if !add(decide("task_alloc", initCalls...)) {
		forked.calls = append(forked.calls, call{taskwatch.Init, everyone, loadNewTask})
	}
	forked.calls = append(forked.calls, call{taskwatch.Clone, everyone, loadNewTask})
	add(forked)

	// exec
	executed := tp("sched_process_exec", call{taskwatch.Exec, observers, loadExec})
	if !add(decide("bprm_creds_for_exec", call{taskwatch.Exec, deciders, loadBprm})) {
		executed.calls[0].to = everyone
	}
	executed.calls = append(executed.calls, call{taskwatch.Exec, afterwards, loadExec})
	if s.LSM != nil && s.FEntry != nil && s.PrepareExec == nil {
		// The old program is still there at sched_prepare_exec.
		executed.before = "sched_prepare_exec"
		executed.calls = slices.Concat([]call{
			{taskwatch.UID, everyone, loadExecIDs(userIDs)},
			{taskwatch.GID, everyone, loadExecIDs(groupIDs)},
		}, executed.calls)
	}
	add(executed)

	// uid and gid. Where a program can be preempted, fentry on commit_creds
	// misses changes; LSM programs do not. They are asked last.
	asked := func(k taskwatch.Kind, which ids) []call {
		calls := []call{{k, deciders, loadFixIDs(which)}}
		if s.LSM == nil {
			calls = append(calls, call{k, observers, unlessVetoed(loadFixIDs(which))})
		}
		return calls
	}
	decidable := add(decide("task_fix_setuid", asked(taskwatch.UID, userIDs)...))
	if decidable {
		add(decide("task_fix_setgid", asked(taskwatch.GID, groupIDs)...))
		if s.SetGroups == nil {
			calls := []call{{taskwatch.GID, deciders, loadSetGroups}}
			if s.LSM == nil {
				calls = append(calls, call{taskwatch.GID, observers, unlessVetoed(loadSetGroups)})
			}
			add(decide("task_fix_setgroups", calls...))
		}
	}
	fact := everyone
	if decidable {
		fact = observers
	}

	// The decision where exec has found its last program: about the interpreter
	// of a script, and about the ids that the program's mode changes.
	add(decide("bprm_creds_from_file",
		call{taskwatch.Exec, deciders, loadInterpreter},
		call{taskwatch.UID, deciders, loadBprmIDs(userIDs)},
		call{taskwatch.GID, deciders, loadBprmIDs(groupIDs)}))

	if s.LSM == nil {
		add(lsm("bprm_committing_creds", false,
			call{taskwatch.UID, observers, loadBprmIDs(userIDs)},
			call{taskwatch.GID, observers, loadBprmIDs(groupIDs)}))
	} else if s.FEntry == nil {
		add(fentry("commit_creds",
			call{taskwatch.UID, fact, loadCommit(userIDs)},
			call{taskwatch.GID, fact, loadCommit(groupIDs)},
			call{taskwatch.GID, fact, loadCommitGroups}))
	} else if s.Syscalls == nil {
		add(&hook{name: "tp/syscalls/set*uid", typ: ebpf.TracePoint, target: "set_uid",
			syscalls: []string{"setuid", "setreuid", "setresuid", "setfsuid"}, ids: userIDs,
			calls: []call{{taskwatch.UID, fact, loadSyscallIDs(userIDs)}}})
		add(&hook{name: "tp/syscalls/set*gid", typ: ebpf.TracePoint, target: "set_gid",
			syscalls: []string{"setgid", "setregid", "setresgid", "setfsgid"}, ids: groupIDs,
			calls: []call{{taskwatch.GID, fact, loadSyscallIDs(groupIDs)}}})
		add(&hook{name: "tp/syscalls/setgroups", typ: ebpf.TracePoint, target: "set_groups",
			syscalls: []string{"setgroups"}, stateless: true,
			calls: []call{{taskwatch.GID, fact, loadSyscallGroups}}})
	}

	// exit and free
	add(tp("sched_process_exit", call{taskwatch.Exit, everyone, loadExit}))
	switch {
	case s.LSM == nil:
		add(lsm("task_free", false, call{taskwatch.Free, everyone, loadFree}))
	case s.FEntry == nil:
		add(fentry("security_task_free", call{taskwatch.Free, everyone, loadFree}))
	default:
		add(tp("sched_process_free", call{taskwatch.Free, everyone, loadFree}))
	}
	return hooks
}

// The loaders below generate the code that takes an event out of the hook's
// arguments. The context of all but the system-call tracepoints is an array
// of the arguments, eight bytes each.

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
		asm.LoadMem(asm.R1, regTask, g.off.taskPID, asm.Word),
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
		asm.LoadMem(asm.R2, asm.R1, g.off.bprmInterp, asm.DWord),
		asm.LoadMem(asm.R3, asm.R1, g.off.bprmFilename, asm.DWord),
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
			asm.LoadMem(asm.R1, asm.R1, g.off.bprmCred, asm.DWord),
			asm.LoadMem(asm.R2, regTask, g.off.taskRealCred, asm.DWord),
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
		asm.LoadMem(asm.R1, asm.R1, g.off.credGroups, asm.DWord),
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
		asm.LoadMem(asm.R2, regTask, g.off.taskRealCred, asm.DWord),
		asm.LoadMem(asm.R1, asm.R1, g.off.credGroups, asm.DWord),
		asm.LoadMem(asm.R2, asm.R2, g.off.credGroups, asm.DWord),
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
		asm.LoadMem(asm.R1, regTask, g.off.taskRealCred, asm.DWord),
	)
	for i, off := range g.off.of(groupIDs) {
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
		g.emit(asm.LoadMem(asm.R2, regTask, g.off.taskRealCred, asm.DWord))
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
	g.emit(asm.LoadMem(regVal, regTask, g.off.taskExitCode, asm.Word))
}

// security_task_free(task) and sched_process_free(task). A task whose fork
// failed never was in an exit state; its exit code is a copy of the parent's.
func loadFree(g *gen) {
	g.arg(regTask, 0)
	g.emit(
		asm.LoadMem(regVal, regTask, g.off.taskExitState, asm.Word),
		asm.JEq.Imm(regVal, 0, g.label("forked")),
		asm.LoadMem(regVal, regTask, g.off.taskExitCode, asm.Word),
	)
	g.mark(g.label("forked"))
}
