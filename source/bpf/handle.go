package bpf

import (
	"os"

	"github.com/taskwatch/taskwatch"
)

var pageSize = uint64(os.Getpagesize())

// handle turns one record into events.
func (st *stream) handle(r *record) {
	st.losses(r)
	if st.before != r.dropped {
		st.before = r.dropped
		clear(st.extras) // what they were of may be lost
		clear(st.cwds)
	}
	switch r.kind {
	case recordExtra:
		st.extras[r.task] = r.extra
		return
	case recordProgram:
		st.moreOfProgram(r)
		return
	case recordCwd:
		p := place{cut: r.flags&flagCwdCut != 0}
		if !p.cut {
			p.path = st.path(r.cwd, r.flags&flagCwdGone != 0)
		}
		st.cwds[r.task] = p
		return
	case recordArgv, recordCgroup:
	default:
		if len(st.extras) > 0 {
			defer delete(st.extras, r.task)
		}
		defer delete(st.cwds, r.task)
	}
	switch r.kind {
	case recordCgroup:
		st.cgroup(r)
	case recordTask:
		st.entered(r)
	case recordArgv:
		st.piece(r)
	case recordInit:
		st.init(r)
	case recordClone:
		st.owed.born++
		st.clone(r)
	case recordExec:
		st.exec(r)
	case recordUID, recordGID:
		st.changed(r)
	case recordExit:
		st.exit(r)
	case recordReport:
		st.report(r)
	case recordEmit:
		st.emitted(r)
	case recordFailed:
		st.execFailed(r)
	case recordFree:
		e := st.table.find(r)
		if e == nil {
			st.strayFree(r)
			break
		}
		if !e.reported { // else the kernel may have changed it since
			e.val = r.val
		}
		st.free(e, r.timeNS, false, 0)
	}
}

// moreOfProgram takes what a record before an exec tells of the program.
func (st *stream) moreOfProgram(r *record) {
	x := st.extras[r.task]
	if r.flags&flagExeCut == 0 {
		x.ExeHost = st.path(r.exe, r.flags&flagExeGone != 0)
		x.Given |= taskwatch.FieldExeHost
	}
	if r.flags&flagArgvLeft == 0 {
		x.Env, x.EnvCut = splitArgs(r.argv), r.flags&flagArgvCut != 0
		x.Given |= taskwatch.FieldEnv
	}
	st.extras[r.task] = x
}

// place is a path that was told before the record of the event.
type place struct {
	path string
	cut  bool // it could not be read
}

// cwd takes the working directory that was told before a record. It is not what
// it was at the last event, for nobody tells of chdir.
func (st *stream) cwd(e *entry, r *record) {
	if e.kthread {
		return
	}
	p, ok := st.cwds[r.task]
	e.task.Cwd = p.path
	if !ok || p.cut {
		e.missing |= taskwatch.FieldCwd
	} else {
		e.missing &^= taskwatch.FieldCwd
	}
}

// wants reports whether an event of e is to be delivered.
func (st *stream) wants(k taskwatch.Kind, e *entry) bool { return st.feed.Enabled(k) && !e.silent }

// event starts an event. The caller fills in the rest and delivers it.
func (st *stream) event(k taskwatch.Kind, e *entry, timeNS int64, val uint64) *taskwatch.Event {
	ev := &st.ev
	*ev = taskwatch.Event{}
	ev.Kind, ev.Val, ev.Task, ev.Source = k, val, &e.task, Name
	ev.MonoNS = timeNS
	ev.Time = st.clocks.time(timeNS)
	ev.Final = true
	ev.Missing = (e.missing | st.src.caps.Events[k].Missing) & taskwatch.FieldsOf(k)
	if asked := st.feed.Optional(k); asked != 0 {
		st.extra = st.extras[e.addr]
		if e.cgroup != 0 {
			st.extra.Given |= taskwatch.FieldCgroupID
			st.extra.CgroupID = e.cgroup & (1<<placeHierarchy - 1)
		}
		ev.Give(asked, &st.extra)
	}
	return ev
}

func (st *stream) deliver(ev *taskwatch.Event) {
	st.seq++
	ev.Seq = st.seq
	_ = st.feed.Notify(ev) // the sinks get it; it is too late to refuse anything
}

// fresh makes room for a task that the kernel says is new: whoever had its
// address before is gone for good.
func (st *stream) fresh(r *record) *entry {
	if old := st.table.at(r.task); old != nil {
		st.gone(old, r.timeNS)
	}
	e := st.table.add(r.task)
	from := st.table.at(r.creator)
	if from == nil && r.ppid == os.Getpid() {
		from = st.self
		e.silent = from != nil
	}
	e.inherit(from)
	if r.flags&flagKthread != 0 {
		e.asKthread()
	}
	e.task.UID, e.task.GID = r.uid, r.gid
	st.cwd(e, r)
	st.refresh(e, r)
	return e
}

func (st *stream) init(r *record) {
	if e := st.table.at(r.task); e != nil && e.start >= r.timeNS+st.clocks.boot { // found by the iterator, which was faster
		st.created(e, r)
		st.begin(e, r)
		return
	}
	e := st.fresh(r)
	st.table.expect(e)
	st.begin(e, r)
}

// created says which task has created one that the iterator has found.
func (st *stream) created(e *entry, r *record) {
	if !e.task.ParentID.IsZero() {
		return
	}
	if e.task.ParentID = st.table.id(r.creator); !e.task.ParentID.IsZero() {
		e.missing &^= taskwatch.FieldParentID
	}
}

// begin delivers the init of a task.
func (st *stream) begin(e *entry, r *record) {
	if st.wants(taskwatch.Init, e) {
		st.deliver(st.event(taskwatch.Init, e, r.timeNS, r.val))
	}
}

func (st *stream) clone(r *record) {
	e := st.table.at(r.task)
	early := st.kernel.initIsEarly()
	switch {
	case e == nil || e.start != 0 && e.start != r.start:
		e = st.fresh(r)
		if !early {
			st.begin(e, r)
		}
		st.table.place(e, r.pid, r.tid, r.start)
	case e.start == 0: // after its init
		st.table.place(e, r.pid, r.tid, r.start)
	default: // found by the iterator, which was faster
		st.created(e, r)
		if !early {
			st.begin(e, r)
		}
	}
	e.task.UID, e.task.GID = r.uid, r.gid
	st.cwd(e, r)
	st.refresh(e, r)
	if st.killing {
		e.killProcess()
	}
	if st.self != nil && r.ppid == os.Getpid() && r.pid == r.tid && st.table.at(r.creator) != nil {
		st.siblings = append(st.siblings, r.pid) // the command's own creator is not in the table
	}
	if st.wants(taskwatch.Clone, e) {
		st.deliver(st.event(taskwatch.Clone, e, r.timeNS, r.val))
	}
}

// entry returns the entry that a record is about. A task that nobody knew is
// added with what the record tells.
func (st *stream) entry(r *record) *entry {
	e := st.table.find(r)
	if e != nil {
		if e.start == 0 { // its clone was lost
			st.table.place(e, r.pid, r.tid, r.start)
		}
		return e
	}
	if old := st.table.at(r.task); old != nil {
		st.gone(old, r.timeNS)
	}
	e = st.table.add(r.task)
	e.inherit(nil)
	if leader := st.table.byTID[r.pid]; leader != nil && r.pid != r.tid {
		e.share(leader)
	}
	if r.flags&flagKthread != 0 {
		e.asKthread()
	}
	e.task.UID, e.task.GID = r.uid, r.gid
	st.table.place(e, r.pid, r.tid, r.start)
	return e
}

// refresh takes from a record what it tells about its task, but for what has
// events of its own.
func (st *stream) refresh(e *entry, r *record) {
	e.lastNS = r.timeNS
	e.task.PPID = r.ppid
	if e.task.Comm != string(r.comm) {
		e.task.Comm = st.strings.get(r.comm)
	}
	if r.cgroup == 0 { // nobody wants it
		e.cgroup, e.task.Cgroup = 0, ""
		e.missing |= taskwatch.FieldCgroup
		return
	}
	if e.cgroup != r.cgroup || e.missing&taskwatch.FieldCgroup != 0 || e.task.Cgroup == "" {
		e.cgroup = r.cgroup
		path, ok := st.cgroups[r.cgroup]
		e.task.Cgroup = path
		if ok {
			e.missing &^= taskwatch.FieldCgroup
		} else {
			e.missing |= taskwatch.FieldCgroup
		}
	}
}

func (st *stream) exec(r *record) {
	e := st.entry(r)
	if r.tid != e.task.TID || r.start != e.start {
		if leader := st.table.byTID[r.tid]; leader != nil && leader != e {
			st.exitLost(leader, r.timeNS)
			leader.gone = true
			e.replaced = leader
		}
		st.table.move(e, r.tid, r.start)
	}
	st.cwdOf(e, r)
	st.ids(e, r, taskwatch.CauseExec)
	old, oldMissing := e.task.Exe, e.missing&taskwatch.FieldExe != 0
	st.program(e, r)
	st.refresh(e, r)
	e.silent = false
	if !st.wants(taskwatch.Exec, e) {
		return
	}
	ev := st.event(taskwatch.Exec, e, r.timeNS, 0)
	ev.OldExe = old
	if oldMissing {
		ev.Missing |= taskwatch.FieldOldExe
	}
	if asked := st.feed.Optional(taskwatch.Exec) & fieldsBefore; asked != 0 && r.val != 0 {
		st.extra.BeforeUTimeNS, st.extra.BeforeSTimeNS = timeBefore(r.val)
		st.extra.Given |= asked
		ev.Extra = &st.extra
		ev.Missing &^= asked
	}
	st.deliver(ev)
}

// program takes exe, argv and cwd from an exec record.
func (st *stream) program(e *entry, r *record) {
	e.kthread = false
	st.paths(e, r)
	area, cut := r.argv, r.flags&flagArgvCut != 0
	if r.flags&flagArgvLeft != 0 {
		delete(st.argv, r.task)
		e.task.Argv, e.task.ArgvCut = nil, false
		e.missing |= taskwatch.FieldArgv
		return
	}
	if before, ok := st.argv[r.task]; ok || r.argvOff > 0 {
		delete(st.argv, r.task)
		if len(before) == r.argvOff {
			area = append(before, area...)
		} else {
			area, cut = before, true // a piece in the middle was lost
		}
	}
	e.task.Argv, e.task.ArgvCut = splitArgs(area), cut
	e.missing &^= taskwatch.FieldArgv
	if cut && len(area) == 0 {
		// Nothing could be read at all; the task may live long enough to be asked.
		if argv, ok := readArgv(r.pid, r.start); ok {
			e.task.Argv, e.task.ArgvCut = argv, false
		}
	}
}

// paths takes exe and cwd from a record.
func (st *stream) paths(e *entry, r *record) {
	e.execs = r.creator
	e.task.Exe = st.path(r.exe, r.flags&flagExeGone != 0)
	e.missing &^= taskwatch.FieldExe
	if r.flags&flagExeCut != 0 {
		e.task.Exe = ""
		e.missing |= taskwatch.FieldExe
	}
	st.cwdOf(e, r)
}

// cwdOf takes cwd from a record that has it.
func (st *stream) cwdOf(e *entry, r *record) {
	e.task.Cwd = st.path(r.cwd, r.flags&flagCwdGone != 0)
	e.missing &^= taskwatch.FieldCwd
	if r.flags&flagCwdCut != 0 {
		e.task.Cwd = ""
		e.missing |= taskwatch.FieldCwd
	}
}

// path writes a path as the links in /proc do.
func (st *stream) path(names []byte, gone bool) string {
	st.scratch = appendPath(st.scratch[:0], names)
	if gone {
		st.scratch = append(st.scratch, " (deleted)"...)
	}
	return st.strings.get(st.scratch)
}

// maxArgv is how many bytes of an argv are sent: argvs up to that are complete.
const maxArgv = argvChunk * argvChunks

// piece keeps a piece of a long argv for the exec record that follows.
func (st *stream) piece(r *record) {
	if r.argvOff == 0 {
		st.argv[r.task] = nil
	}
	before, ok := st.argv[r.task]
	if ok && len(before) == r.argvOff && r.argvOff+len(r.argv) <= maxArgv {
		st.argv[r.task] = append(before, r.argv...)
	}
}

// changed handles a change of ids, or a system call that may have made one.
func (st *stream) changed(r *record) {
	e := st.entry(r)
	st.cwd(e, r)
	st.refresh(e, r)
	if r.cause == taskwatch.CauseUnknown {
		st.ids(e, r, taskwatch.CauseSyscall)
		return
	}
	if r.cause == taskwatch.CauseSetGroups {
		st.ids(e, r, taskwatch.CauseSyscall) // whose record was lost
		st.idsChanged(taskwatch.GID, r.gid, e, r, r.cause)
		return
	}
	if r.kind == recordUID {
		e.task.UID = r.old
		st.idsOf(taskwatch.UID, &e.task.UID, r.uid, e, r, r.cause)
	} else {
		e.task.GID = r.old
		st.idsOf(taskwatch.GID, &e.task.GID, r.gid, e, r, r.cause)
	}
}

// ids delivers uid and gid for what a record shows to have changed.
func (st *stream) ids(e *entry, r *record, cause taskwatch.Cause) {
	st.idsOf(taskwatch.UID, &e.task.UID, r.uid, e, r, cause)
	st.idsOf(taskwatch.GID, &e.task.GID, r.gid, e, r, cause)
}

func (st *stream) idsOf(k taskwatch.Kind, ids *taskwatch.IDs, now taskwatch.IDs, e *entry, r *record, cause taskwatch.Cause) {
	old := *ids
	if old == now {
		return
	}
	*ids = now
	st.idsChanged(k, old, e, r, cause)
}

// idsChanged delivers uid or gid, of a task that has its new ids.
func (st *stream) idsChanged(k taskwatch.Kind, old taskwatch.IDs, e *entry, r *record, cause taskwatch.Cause) {
	if !st.wants(k, e) {
		return
	}
	ev := st.event(k, e, r.timeNS, 0)
	ev.OldIDs, ev.Cause = old, cause
	st.deliver(ev)
}

func (st *stream) exit(r *record) {
	e := st.entry(r)
	if e.reported {
		return
	}
	delete(st.argv, r.task)
	if first := e.replaced; first != nil {
		// Two tasks of one tid: let the first be gone before the second goes.
		if first.waiting.list != nil {
			st.gone(first, r.timeNS)
		}
		e.replaced = nil
	}
	st.cwd(e, r)
	last := st.table.exit(e)
	if st.src.cfg.Narrow { // other threads may have been left out
		last = last && r.flags&flagGroup != 0
	}
	if last && e.task.PID == st.src.cfg.PID {
		st.src.command.SetStatus(r.val)
	}
	e.reported, e.val = true, r.val
	e.task.UID, e.task.GID = r.uid, r.gid
	st.refresh(e, r)
	if e.execs != r.creator {
		// It died in an exec that could not fail any more, or one was lost.
		e.task.Exe, e.task.Argv = "", nil
		e.missing |= taskwatch.FieldExe | taskwatch.FieldArgv
	}
	if st.wants(taskwatch.Exit, e) {
		ev := st.event(taskwatch.Exit, e, r.timeNS, r.val)
		ev.Exit = taskwatch.DecodeExit(r.val)
		ev.Exit.Group = last // of those we know: when two exit at once, the kernel says so of both
		st.rusage(ev, r)
		st.deliver(ev)
	}
	st.exited(e, r.timeNS)
}

func (st *stream) rusage(ev *taskwatch.Event, r *record) {
	if r.flags&flagNoUsage != 0 {
		ev.Missing |= taskwatch.FieldsRusage
		return
	}
	utime, stime := splitCPU(r.runtime, r.utime, r.stime)
	ev.Rusage = taskwatch.Rusage{
		UTimeNS: utime, STimeNS: stime,
		MaxRSS: r.maxrss * pageSize,
		MinFlt: r.minflt, MajFlt: r.majflt,
		NVCSw: r.nvcsw, NIvCSw: r.nivcsw,
		ReadBytes: r.readBytes, WriteBytes: r.writeBytes,
	}
	if r.flags&flagNoMaxRSS != 0 {
		ev.Missing |= taskwatch.FieldMaxRSS
	}
	if r.flags&flagNoIO != 0 {
		ev.Missing |= taskwatch.FieldReadBytes | taskwatch.FieldWriteBytes
	}
}

const fieldsBefore = taskwatch.FieldBeforeUTime | taskwatch.FieldBeforeSTime

// timeBefore reads the val of an exec's record: see time_before in c/exec.h.
func timeBefore(val uint64) (user, system int64) {
	total, part := int64(val>>10), int64(val&1023)-1
	return splitCPU(total, 1022-part, part)
}

// splitCPU divides the exact CPU time of a task in the proportion in which
// the kernel sampled it, as cputime_adjust in kernel/sched/cputime.c does.
func splitCPU(total, utime, stime int64) (user, system int64) {
	switch {
	case stime == 0:
		return total, 0
	case utime == 0:
		return 0, total
	}
	system = int64(float64(total) * (float64(stime) / float64(utime+stime)))
	return total - system, system
}
