package plan

import (
	"slices"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch"
)

// Hooks chooses the hooks of a table for what the kernel supports, best tier
// first.
func Hooks(s *Support) []*Hook {
	tp := func(name string, calls ...Call) *Hook {
		return &Hook{Name: "tp_btf/" + name, Type: ebpf.Tracing, Attach: ebpf.AttachTraceRawTp, Target: name, Calls: calls}
	}
	fentry := func(name string, calls ...Call) *Hook {
		return &Hook{Name: "fentry/" + name, Type: ebpf.Tracing, Attach: ebpf.AttachTraceFEntry, Target: name, Calls: calls}
	}
	lsm := func(name string, veto bool, calls ...Call) *Hook {
		return &Hook{Name: "lsm/" + name, Type: ebpf.LSM, Attach: ebpf.AttachLSMMac, Target: name, Veto: veto, Calls: calls}
	}
	// ask is the hook where one of security_*() is asked, whose function may have
	// another name.
	ask := func(name, function string, calls ...Call) *Hook {
		switch {
		case s.LSM == nil:
			return lsm(name, true, calls...)
		case s.ModifyReturn == nil:
			return &Hook{Name: "fmod_ret/security_" + function, Type: ebpf.Tracing, Attach: ebpf.AttachModifyReturn,
				Target: "security_" + function, Veto: true, Calls: calls}
		}
		return nil
	}
	decide := func(name string, calls ...Call) *Hook { return ask(name, name, calls...) }
	var hooks []*Hook
	add := func(h *Hook) bool {
		if h != nil {
			hooks = append(hooks, h)
		}
		return h != nil
	}

	// init and clone. At task_newtask the fork can no longer fail and the
	// child does not run yet.
	forked := tp("task_newtask")
	initCalls := []Call{{taskwatch.Init, Everyone, LoadTaskAlloc}}
	if s.LSM != nil {
		// A fork refused here never reaches security_task_free().
		initCalls = append(initCalls, Call{taskwatch.Free, OnceVetoed, LoadDenied})
	}
	if !add(decide("task_alloc", initCalls...)) {
		forked.Calls = append(forked.Calls, Call{taskwatch.Init, Everyone, LoadNewTask})
	}
	forked.Calls = append(forked.Calls, Call{taskwatch.Clone, Everyone, LoadNewTask})
	add(forked)

	// exec
	executed := tp("sched_process_exec", Call{taskwatch.Exec, Observers, LoadExec})
	if !add(decide("bprm_creds_for_exec", Call{taskwatch.Exec, Deciders, LoadBprm})) {
		executed.Calls[0].To = Everyone
	}
	if h := ask("bprm_check_security", "bprm_check", Call{taskwatch.Exec, Stepwise, LoadStep}); h != nil {
		h.Steps = true
		add(h)
	}
	executed.Calls = append(executed.Calls, Call{taskwatch.Exec, Afterwards, LoadExec})
	if s.LSM != nil && s.FEntry != nil && s.PrepareExec == nil {
		// The old program is still there at sched_prepare_exec.
		executed.Before = "sched_prepare_exec"
		executed.Calls = slices.Concat([]Call{
			{taskwatch.UID, Everyone, LoadExecIDs},
			{taskwatch.GID, Everyone, LoadExecIDs},
		}, executed.Calls)
	}
	add(executed)

	// uid and gid. Where a program can be preempted, fentry on commit_creds
	// misses changes; LSM programs do not. They are asked last.
	asked := func(k taskwatch.Kind) []Call {
		calls := []Call{{k, Deciders, LoadFixIDs}}
		if s.LSM == nil {
			calls = append(calls, Call{k, Observers, LoadFixIDs})
		}
		return calls
	}
	decidable := add(decide("task_fix_setuid", asked(taskwatch.UID)...))
	if decidable {
		add(decide("task_fix_setgid", asked(taskwatch.GID)...))
		if s.SetGroups == nil {
			calls := []Call{{taskwatch.GID, Deciders, LoadFixGroups}}
			if s.LSM == nil {
				calls = append(calls, Call{taskwatch.GID, Observers, LoadFixGroups})
			}
			add(decide("task_fix_setgroups", calls...))
		}
	}
	fact := Everyone
	if decidable {
		fact = Observers
	}

	// The decision where exec has found its last program: about the interpreter
	// of a script, and about the ids that the program's mode changes.
	add(decide("bprm_creds_from_file",
		Call{taskwatch.Exec, Deciders, LoadInterpreter},
		Call{taskwatch.UID, Deciders, LoadBprmIDs},
		Call{taskwatch.GID, Deciders, LoadBprmIDs}))

	if s.LSM == nil {
		add(lsm("bprm_committing_creds", false,
			Call{taskwatch.UID, Observers, LoadBprmIDs},
			Call{taskwatch.GID, Observers, LoadBprmIDs}))
	} else if s.FEntry == nil {
		add(fentry("commit_creds",
			Call{taskwatch.UID, fact, LoadCommitIDs},
			Call{taskwatch.GID, fact, LoadCommitIDs},
			Call{taskwatch.GID, fact, LoadCommitGroups}))
	} else if s.Syscalls == nil {
		add(&Hook{Name: "tp/syscalls/set*uid", Type: ebpf.TracePoint, Target: "set_uid",
			Syscalls: []string{"setuid", "setreuid", "setresuid", "setfsuid"}, IDs: UserIDs,
			Calls: []Call{{taskwatch.UID, fact, LoadSyscallIDs}}})
		add(&Hook{Name: "tp/syscalls/set*gid", Type: ebpf.TracePoint, Target: "set_gid",
			Syscalls: []string{"setgid", "setregid", "setresgid", "setfsgid"}, IDs: GroupIDs,
			Calls: []Call{{taskwatch.GID, fact, LoadSyscallIDs}}})
		add(&Hook{Name: "tp/syscalls/setgroups", Type: ebpf.TracePoint, Target: "set_groups",
			Syscalls: []string{"setgroups"}, Stateless: true,
			Calls: []Call{{taskwatch.GID, fact, LoadSyscallGroups}}})
	}

	// exit and free
	add(tp("sched_process_exit", Call{taskwatch.Exit, Everyone, LoadExit}))
	switch {
	case s.LSM == nil:
		add(lsm("task_free", false, Call{taskwatch.Free, Everyone, LoadFree}))
	case s.FEntry == nil:
		add(fentry("security_task_free", Call{taskwatch.Free, Everyone, LoadFree}))
	default:
		add(tp("sched_process_free", Call{taskwatch.Free, Everyone, LoadFree}))
	}
	return hooks
}
