package ptrace

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// settingID handles the seccomp stop of a call that may change ids. What it
// changed is read when it returns; watchers that may veto are asked now, with
// the ids that the call is going to set.
func (t *tracer) settingID(tr *tracee, info *sys.SyscallInfo, name string) {
	tr.call = pendingCall{trap: trapSetID, groups: isSetGroups(name)}
	if t.vetoes.Has(taskwatch.UID) || t.vetoes.Has(taskwatch.GID) {
		if st, err := t.proc.Status(tr.proc.pid, tr.tid); err == nil {
			var errno unix.Errno
			if tr.call.groups {
				errno = t.askGroups(tr, &st, uint32(info.Args[0]))
			} else {
				kind, next := predictIDs(&st, name, info.Args)
				errno = t.ask(tr, kind, &st, next)
			}
			if errno != 0 {
				t.deny(tr, errno)
				return
			}
		}
	}
	t.resume(tr, unix.PTRACE_SYSCALL, 0)
}

// ask calls the watchers that may veto a change of ids, if there is one.
func (t *tracer) ask(tr *tracee, kind taskwatch.Kind, st *procfs.Status, next taskwatch.IDs) unix.Errno {
	ids, now := &tr.task.UID, st.UID
	if kind == taskwatch.GID {
		ids, now = &tr.task.GID, st.GID
	}
	if next == now || !t.vetoes.Has(kind) {
		return 0
	}
	return t.askIDs(tr, kind, ids, now, next, taskwatch.CauseSyscall)
}

// askIDs calls the watchers that may veto.
func (t *tracer) askIDs(tr *tracee, kind taskwatch.Kind, ids *taskwatch.IDs, now, next taskwatch.IDs, cause taskwatch.Cause) unix.Errno {
	*ids = next
	ev := t.event(kind, tr.task, 0)
	ev.OldIDs, ev.Cause = now, cause
	t.addLasting(ev, tr.task)
	errno := taskwatch.Denial(t.feed.NotifyBefore(ev))
	*ids = now
	tr.call.asked = true
	return errno
}

// setID handles the return of a call that may have changed ids.
func (t *tracer) setID(tr *tracee, call pendingCall) {
	st, err := t.proc.Status(tr.proc.pid, tr.tid)
	if err != nil {
		t.suspect = t.suspect || !procfs.Gone(err)
		return
	}
	if !call.groups {
		t.idsChanged(tr, st.UID, st.GID, taskwatch.CauseSyscall, call.asked)
		return
	}
	t.idsChanged(tr, st.UID, st.GID, taskwatch.CauseSyscall, false) // that no stop has announced
	var r sys.SyscallResult
	if sys.PtraceSyscallResult(tr.tid, &r) == nil && r.Value == 0 {
		t.tellIDs(taskwatch.GID, tr.task, tr.task.GID, taskwatch.CauseSetGroups, call.asked)
	}
}

// compareIDs delivers the changes of ids that no stop has announced.
func (t *tracer) compareIDs(tr *tracee) {
	if t.suspect && tr.task != nil && t.started && !tr.exited && !tr.ending {
		t.setID(tr, pendingCall{})
	}
}

// causeAtExec tells whether ids that differ at an exec were changed by it, where
// changes before may not have been seen: an exec never changes the real id, and
// makes the effective one the owner's of a setuid file.
func (t *tracer) causeAtExec(tr *tracee, uid, gid taskwatch.IDs) taskwatch.Cause {
	if !t.suspect {
		return taskwatch.CauseExec
	}
	var st unix.Stat_t
	readable := unix.Stat(procfs.Path(tr.tid, "exe"), &st) == nil
	for _, ids := range []struct {
		old, now taskwatch.IDs
		bit      uint32
		owner    uint32
	}{{tr.task.UID, uid, unix.S_ISUID, st.Uid}, {tr.task.GID, gid, unix.S_ISGID, st.Gid}} {
		const r, e = taskwatch.RealID, taskwatch.EffectiveID
		own := readable && st.Mode&ids.bit != 0 && ids.owner == ids.now[e]
		if ids.now[r] != ids.old[r] || ids.now[e] != ids.old[e] && !own {
			return taskwatch.CauseSyscall
		}
	}
	return taskwatch.CauseExec
}

// idsChanged delivers uid and gid for what differs from the ids known so far.
func (t *tracer) idsChanged(tr *tracee, uid, gid taskwatch.IDs, cause taskwatch.Cause, asked bool) {
	t.idChanged(taskwatch.UID, tr.task, &tr.task.UID, uid, cause, asked)
	t.idChanged(taskwatch.GID, tr.task, &tr.task.GID, gid, cause, asked)
}

func (t *tracer) idChanged(k taskwatch.Kind, task *subject, ids *taskwatch.IDs, now taskwatch.IDs, cause taskwatch.Cause, asked bool) {
	old := *ids
	if old == now {
		return
	}
	*ids = now
	t.tellIDs(k, task, old, cause, asked)
}

// tellIDs delivers uid or gid of a task that has its new ids.
func (t *tracer) tellIDs(k taskwatch.Kind, task *subject, old taskwatch.IDs, cause taskwatch.Cause, asked bool) {
	if t.feed.Enabled(k) {
		t.readCwd(task, task.TID)
	}
	ev := t.event(k, task, 0)
	ev.OldIDs, ev.Cause = old, cause
	t.addExtra(ev, task.PID, task.TID)
	t.count(ev)
	if asked {
		_ = t.feed.NotifyAfter(ev) // observers only
		return
	}
	ev.Final = true
	_ = t.feed.Notify(ev)
}

// Capability numbers (include/uapi/linux/capability.h).
const capSetGID, capSetUID = 6, 7

// unchanged is the argument -1, which leaves an id as it is.
const unchanged = ^uint32(0)

// predictIDs returns the kind of ids that a call is about to change and what
// they are going to be: the ids of now if the kernel is going to reject the
// call or if it changes nothing. The rules are those of kernel/sys.c.
func predictIDs(st *procfs.Status, name string, args [6]uint64) (taskwatch.Kind, taskwatch.IDs) {
	base := name
	if n := len(name); n > 2 && name[n-2:] == "32" { // the 32-bit calls of i386
		base = name[:n-2]
	}
	kind, old, capability := taskwatch.UID, st.UID, capSetUID
	if len(base) > 3 && base[len(base)-3:] == "gid" {
		kind, old, capability = taskwatch.GID, st.GID, capSetGID
	}
	privileged := st.CapEff>>capability&1 == 1
	var a [3]uint32
	for i := range a {
		a[i] = uint32(args[i])
	}
	next := old
	const r, e, s, fs = taskwatch.RealID, taskwatch.EffectiveID, taskwatch.SavedID, taskwatch.FSID
	one := func(id uint32, of ...int) bool { // may an unprivileged task take this id?
		for _, i := range of {
			if id == unchanged || id == old[i] {
				return true
			}
		}
		return privileged
	}
	set := func(i int, id uint32) {
		if id != unchanged {
			next[i] = id
		}
	}
	switch base {
	case "setuid", "setgid":
		switch {
		case a[0] == unchanged:
		case privileged:
			next = taskwatch.IDs{a[0], a[0], a[0], a[0]}
		case one(a[0], r, s):
			next[e], next[fs] = a[0], a[0]
		}
	case "setreuid", "setregid":
		if one(a[0], r, e) && one(a[1], r, e, s) {
			set(r, a[0])
			set(e, a[1])
			if a[0] != unchanged || a[1] != unchanged && a[1] != old[r] {
				next[s] = next[e]
			}
			next[fs] = next[e]
		}
	case "setresuid", "setresgid":
		same := func(i int) bool { return a[i] == unchanged || a[i] == old[i] }
		if same(r) && same(s) && same(e) && (a[e] == unchanged || old[fs] == old[e]) {
			break // newer kernels look for that first; the file system id of older ones may follow
		}
		if one(a[0], r, e, s) && one(a[1], r, e, s) && one(a[2], r, e, s) {
			set(r, a[0])
			set(e, a[1])
			set(s, a[2])
			next[fs] = next[e]
		}
	case "setfsuid", "setfsgid":
		if a[0] != unchanged && one(a[0], r, e, s, fs) {
			next[fs] = a[0]
		}
	}
	return kind, next
}
