package plan

import (
	"slices"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch"
)

// Hooks chooses the hooks of a table for what the kernel supports, best tier
// first.
func Hooks(s *Support) []*Hook {
	c := choice{s: s}
	c.births()
	c.execs()
	c.ids()
	c.ends()
	return c.hooks
}

// choice is the hooks that were chosen up to now.
type choice struct {
	s     *Support
	hooks []*Hook
}

func tp(name string, calls ...Call) *Hook {
	return &Hook{Name: "tp_btf/" + name, Type: ebpf.Tracing, Attach: ebpf.AttachTraceRawTp, Target: name, Calls: calls}
}

func fentry(name string, calls ...Call) *Hook {
	return &Hook{Name: "fentry/" + name, Type: ebpf.Tracing, Attach: ebpf.AttachTraceFEntry, Target: name, Calls: calls}
}

func lsm(name string, veto bool, calls ...Call) *Hook {
	return &Hook{Name: "lsm/" + name, Type: ebpf.LSM, Attach: ebpf.AttachLSMMac, Target: name, Veto: veto, Calls: calls}
}

func (c *choice) add(h *Hook) { c.hooks = append(c.hooks, h) }

// ask returns the hook where security_*() is asked, or nil if nothing can be denied.
func (c *choice) ask(name, function string, calls ...Call) *Hook {
	switch {
	case c.s.LSM == nil:
		return lsm(name, true, calls...)
	case c.s.ModifyReturn == nil:
		return &Hook{Name: "fmod_ret/security_" + function, Type: ebpf.Tracing, Attach: ebpf.AttachModifyReturn,
			Target: "security_" + function, Veto: true, Calls: calls}
	}
	return nil
}

// decide adds the hook where security_*() is asked, and reports whether there is one.
// The function has the name of the hook.
func (c *choice) decide(name string, calls ...Call) bool {
	h := c.ask(name, name, calls...)
	if h != nil {
		c.add(h)
	}
	return h != nil
}

// births chooses those of init and clone. At task_newtask the fork can no longer fail
// and the child does not run yet.
func (c *choice) births() {
	forked := tp("task_newtask")
	initCalls := []Call{{taskwatch.Init, Everyone, LoadTaskAlloc}}
	if c.s.LSM != nil {
		// A fork denied here never reaches security_task_free().
		initCalls = append(initCalls, Call{taskwatch.Free, OnceVetoed, LoadDenied})
	}
	if !c.decide("task_alloc", initCalls...) {
		forked.Calls = append(forked.Calls, Call{taskwatch.Init, Everyone, LoadNewTask})
	}
	forked.Calls = append(forked.Calls, Call{taskwatch.Clone, Everyone, LoadNewTask})
	c.add(forked)
}

// execs chooses those of exec, its steps and execed.
func (c *choice) execs() {
	executed := tp("sched_process_exec", Call{taskwatch.Exec, Observers, LoadExec})
	if !c.decide("bprm_creds_for_exec", Call{taskwatch.Exec, Deciders, LoadBprm}) {
		executed.Calls[0].To = Everyone
	}
	if h := c.ask("bprm_check_security", "bprm_check", Call{taskwatch.Exec, Stepwise, LoadStep}); h != nil {
		h.Steps = true
		c.add(h)
	}
	executed.Calls = append(executed.Calls, Call{taskwatch.Exec, Afterwards, LoadExec})
	if c.s.LSM != nil && c.s.FEntry != nil && c.s.PrepareExec == nil {
		// The old program is still there at sched_prepare_exec.
		executed.Before = "sched_prepare_exec"
		executed.Calls = slices.Concat([]Call{
			{taskwatch.UID, Everyone, LoadExecIDs},
			{taskwatch.GID, Everyone, LoadExecIDs},
		}, executed.Calls)
	}
	c.add(executed)
}

// ids chooses those of uid and gid. Where a program can be preempted, fentry on
// commit_creds misses changes; LSM programs do not. They are asked last.
func (c *choice) ids() {
	decidable := c.decide("task_fix_setuid", c.asked(taskwatch.UID, LoadFixIDs)...)
	if decidable {
		c.decide("task_fix_setgid", c.asked(taskwatch.GID, LoadFixIDs)...)
		if c.s.SetGroups == nil {
			c.decide("task_fix_setgroups", c.asked(taskwatch.GID, LoadFixGroups)...)
		}
	}
	// The decision where exec has found its last program: about the interpreter
	// of a script, and about the ids that the program's mode changes.
	c.decide("bprm_creds_from_file",
		Call{taskwatch.Exec, Deciders, LoadInterpreter},
		Call{taskwatch.UID, Deciders, LoadBprmIDs},
		Call{taskwatch.GID, Deciders, LoadBprmIDs})
	if c.s.LSM == nil {
		c.add(lsm("bprm_committing_creds", false,
			Call{taskwatch.UID, Observers, LoadBprmIDs},
			Call{taskwatch.GID, Observers, LoadBprmIDs}))
		return
	}
	to := Everyone
	if decidable {
		to = Observers
	}
	c.changes(to)
}

// asked returns the calls where a change of ids is asked for, which is its fact as
// well under LSM.
func (c *choice) asked(k taskwatch.Kind, load Load) []Call {
	calls := []Call{{k, Deciders, load}}
	if c.s.LSM == nil {
		calls = append(calls, Call{k, Observers, load})
	}
	return calls
}

// changes chooses the hooks where ids have changed, without LSM.
func (c *choice) changes(to Audience) {
	switch {
	case c.s.FEntry == nil:
		c.add(fentry("commit_creds",
			Call{taskwatch.UID, to, LoadCommitIDs},
			Call{taskwatch.GID, to, LoadCommitIDs},
			Call{taskwatch.GID, to, LoadCommitGroups}))
	case c.s.Syscalls == nil:
		c.add(&Hook{Name: "tp/syscalls/set*uid", Type: ebpf.TracePoint, Target: "set_uid",
			Syscalls: []string{"setuid", "setreuid", "setresuid", "setfsuid"}, IDs: UserIDs,
			Calls: []Call{{taskwatch.UID, to, LoadSyscallIDs}}})
		c.add(&Hook{Name: "tp/syscalls/set*gid", Type: ebpf.TracePoint, Target: "set_gid",
			Syscalls: []string{"setgid", "setregid", "setresgid", "setfsgid"}, IDs: GroupIDs,
			Calls: []Call{{taskwatch.GID, to, LoadSyscallIDs}}})
		c.add(&Hook{Name: "tp/syscalls/setgroups", Type: ebpf.TracePoint, Target: "set_groups",
			Syscalls: []string{"setgroups"}, Stateless: true,
			Calls: []Call{{taskwatch.GID, to, LoadSyscallGroups}}})
	}
}

// ends chooses those of exit and free.
func (c *choice) ends() {
	c.add(tp("sched_process_exit", Call{taskwatch.Exit, Everyone, LoadExit}))
	switch {
	case c.s.LSM == nil:
		c.add(lsm("task_free", false, Call{taskwatch.Free, Everyone, LoadFree}))
	case c.s.FEntry == nil:
		c.add(fentry("security_task_free", Call{taskwatch.Free, Everyone, LoadFree}))
	default:
		c.add(tp("sched_process_free", Call{taskwatch.Free, Everyone, LoadFree}))
	}
}
