package kernel

import (
	"slices"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch"
)

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
