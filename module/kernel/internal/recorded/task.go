package recorded

import (
	"encoding/binary"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel/internal/machine"
)

// task is one task, as its last event has left it.
type task struct {
	*object
	state  *taskwatch.Task
	known  taskwatch.Fields // of state
	extra  taskwatch.Extra
	seen   taskwatch.Kinds
	val    uint64 // of exit or free
	hasVal bool
	usage  taskwatch.Rusage // of exit
	used   taskwatch.Fields // that are known of it
	family
	process *process // nil until its clone
}

const (
	cloneParent = 0x8000
	cloneThread = 0x10000

	exitDead = 16 // exit_state of a task that is freed
)

func (w *World) newTask() *task {
	t := &task{object: w.newObject("task_struct"), state: &taskwatch.Task{}}
	w.byAddr[t.addr()] = t
	return t
}

// stray makes a task that no event was about; it goes when the event is over. Its
// process id is known.
func (w *World) stray(pid int, leader bool) *task {
	t := w.newTask()
	t.state.PID, t.known = pid, taskwatch.FieldPID
	if leader {
		t.state.TID = pid
		t.known |= taskwatch.FieldTID
	}
	w.strays[t] = true
	w.fill(t)
	return t
}

// lead makes a pointer of a task when it is read. What it points to goes with the
// event.
func (w *World) lead(t *task, to func() (uint64, error), path ...string) {
	t.point(func() (uint64, error) {
		w.read[t] = true
		return to()
	}, path...)
}

func (t *task) knows(f taskwatch.Fields) bool { return t.known&f == f }

func (t *task) given(f taskwatch.Fields) bool { return t.extra.Given&f == f }

// fleeting are the fields that change without an event.
const fleeting = taskwatch.FieldCwd | taskwatch.FieldCgroup

// update takes over what an event says.
func (t *task) update(ev *taskwatch.Event) {
	says := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	t.state = ev.Task.Clone()
	t.known &^= fleeting
	switch ev.Kind {
	case taskwatch.Exec:
		t.known = 0
	case taskwatch.UID:
		t.known &^= taskwatch.FieldUID
	case taskwatch.GID:
		t.known &^= taskwatch.FieldGID
	}
	t.known |= says
	t.extra = taskwatch.Extra{}
	if ev.Extra != nil {
		t.extra = *ev.Extra
	}
	t.seen |= taskwatch.KindsOf(ev.Kind)
	t.val, t.hasVal = ev.Val, says&taskwatch.FieldVal != 0
	if ev.Kind == taskwatch.Exit {
		t.usage, t.used = ev.Rusage, says
	}
}

// index finds the first threads of processes by their process id.
func (w *World) index(t *task) {
	if t.knows(taskwatch.FieldPID|taskwatch.FieldTID) && t.state.PID == t.state.TID {
		w.leaders[t.state.PID] = t
	}
}

// creator returns the task that has made t, at init and clone, or nil.
func (w *World) creator(t *task) *task {
	if !t.knows(taskwatch.FieldParentID) {
		return nil
	}
	if c := w.tasks[t.state.ParentID]; c != nil {
		return c
	}
	if t.knows(taskwatch.FieldPPID) && t.hasVal && t.val&(cloneParent|cloneThread) == 0 {
		return w.stray(t.state.PPID, false)
	}
	return nil
}

// leader returns the first thread of a process.
func (w *World) leader(pid int) *task {
	if t := w.leaders[pid]; t != nil {
		return t
	}
	return w.stray(pid, true)
}

// fill writes what is known of a task to its structure.
func (w *World) fill(t *task) {
	t.forget()
	kind := taskwatch.Kind(taskwatch.NumKinds) // of a task that no event is about
	if w.subject == t {
		kind = w.event.Kind
	}
	s := t.state
	t.set(0, "delays")
	w.fillIDs(t, kind)
	if t.knows(taskwatch.FieldComm) {
		t.setText(s.Comm, "comm")
	}
	if t.knows(taskwatch.FieldStart) {
		t.set(uint64(s.StartNS), "start_boottime")
	}
	if t.knows(taskwatch.FieldPPID) {
		w.lead(t, func() (uint64, error) { return w.parent(t).addr(), nil }, "real_parent")
	}
	for _, field := range []string{"cred", "real_cred"} {
		w.lead(t, func() (uint64, error) { return w.cred(t), nil }, field)
	}
	switch kind {
	case taskwatch.Free:
		t.set(0, "mm")
		t.set(0, "fs")
	case taskwatch.Exit:
		w.lead(t, func() (uint64, error) { return w.fs(t), nil }, "fs")
	default:
		w.lead(t, func() (uint64, error) { return w.mm(t), nil }, "mm")
		w.lead(t, func() (uint64, error) { return w.fs(t), nil }, "fs")
	}
	w.lead(t, func() (uint64, error) { return w.signal(t), nil }, "signal")
	w.lead(t, func() (uint64, error) { return w.cgroups(t), nil }, "cgroups")
	if t.given(taskwatch.FieldAUID) {
		t.set(uint64(t.extra.AUID), "loginuid", "val")
	}
	if t.given(taskwatch.FieldSessionID) {
		t.set(uint64(t.extra.SessionID), "sessionid")
	}
	w.fillEnd(t, kind)
	w.fillFamily(t)
}

// fillIDs writes the ids of a task. At init they are still those of its creator, and
// kernels differ in whose process it is in.
func (w *World) fillIDs(t *task, kind taskwatch.Kind) {
	from := t
	if kind == taskwatch.Init {
		if from = w.creator(t); from == nil {
			return
		}
	}
	if from.knows(taskwatch.FieldTID) {
		t.set(uint64(from.state.TID), "pid")
	}
	if !from.knows(taskwatch.FieldPID) {
		return
	}
	t.set(uint64(from.state.PID), "tgid")
	if kind != taskwatch.Init {
		w.lead(t, func() (uint64, error) {
			if t.knows(taskwatch.FieldTID) && t.state.TID == t.state.PID {
				return t.addr(), nil
			}
			return w.leader(t.state.PID).addr(), nil
		}, "group_leader")
	}
}

// fillEnd writes what is known of the end of a task.
func (w *World) fillEnd(t *task, kind taskwatch.Kind) {
	ends := kind == taskwatch.Exit || kind == taskwatch.Free
	if ends && t.hasVal {
		t.set(t.val, "exit_code")
	}
	switch {
	case kind != taskwatch.Free:
		t.set(0, "exit_state")
	case t.seen.Has(taskwatch.Exit):
		t.set(exitDead, "exit_state")
	case t.seen == taskwatch.KindsOf(taskwatch.Init, taskwatch.Free):
		t.set(0, "exit_state") // its fork failed
	}
	if !ends {
		return
	}
	for _, f := range []struct {
		needs taskwatch.Fields
		value uint64
		path  []string
	}{
		{taskwatch.FieldUTime, uint64(t.usage.UTimeNS), []string{"utime"}},
		{taskwatch.FieldSTime, uint64(t.usage.STimeNS), []string{"stime"}},
		{taskwatch.FieldUTime | taskwatch.FieldSTime, uint64(t.usage.UTimeNS + t.usage.STimeNS), []string{"se", "sum_exec_runtime"}},
		{taskwatch.FieldMinFlt, t.usage.MinFlt, []string{"min_flt"}},
		{taskwatch.FieldMajFlt, t.usage.MajFlt, []string{"maj_flt"}},
		{taskwatch.FieldNVCSw, t.usage.NVCSw, []string{"nvcsw"}},
		{taskwatch.FieldNIvCSw, t.usage.NIvCSw, []string{"nivcsw"}},
	} {
		if t.used&f.needs == f.needs {
			t.set(f.value, f.path...)
		}
	}
}

// parent returns the task that a task's parent process is known by.
func (w *World) parent(t *task) *task {
	pid := t.state.PPID
	if c := w.tasks[t.state.ParentID]; t.knows(taskwatch.FieldParentID) && c != nil && c.knows(taskwatch.FieldPID) && c.state.PID == pid {
		return c
	}
	if l := w.leaders[pid]; l != nil {
		return l
	}
	return w.stray(pid, false)
}

func (w *World) cred(t *task) uint64 {
	c := w.passing("cred")
	for _, f := range []struct {
		needs taskwatch.Fields
		ids   taskwatch.IDs
		names [4]string
	}{
		{taskwatch.FieldUID, t.state.UID, [4]string{"uid", "euid", "suid", "fsuid"}},
		{taskwatch.FieldGID, t.state.GID, [4]string{"gid", "egid", "sgid", "fsgid"}},
	} {
		if t.knows(f.needs) {
			for i, name := range f.names {
				c.set(uint64(f.ids[i]), name, "val")
			}
		}
	}
	return c.addr()
}

// hasArgv reports whether all arguments are known.
func (t *task) hasArgv() bool {
	return t.knows(taskwatch.FieldArgv) && !t.state.ArgvCut && len(t.state.Argv) > 0
}

// exeFile returns what makes the file of a task's program.
func (t *task) exeFile(w *World) func() (uint64, error) {
	return func() (uint64, error) { return w.file(t.state.Exe, t.extra.ExeIno, t.given(taskwatch.FieldExeIno)) }
}

func (w *World) mm(t *task) uint64 {
	mm := w.passing("mm_struct")
	if t.knows(taskwatch.FieldExe) {
		mm.point(t.exeFile(w), "exe_file")
	}
	if t.hasArgv() {
		texts := strings.Join(t.state.Argv, "\x00")
		start := w.text("the arguments of the program", texts)
		mm.set(start, "arg_start")
		mm.set(start+uint64(len(texts))+1, "arg_end")
		mm.set(w.stack(t.state.Argv, start), "start_stack")
	}
	return mm.addr()
}

// stack makes what a program finds at its start: the number of its arguments, and
// where they are.
func (w *World) stack(argv []string, texts uint64) uint64 {
	b := binary.NativeEndian.AppendUint64(nil, uint64(len(argv)))
	for _, arg := range argv {
		b = binary.NativeEndian.AppendUint64(b, texts)
		texts += uint64(len(arg)) + 1
	}
	b = binary.NativeEndian.AppendUint64(b, 0)
	r := w.machine.Memory.Add(&machine.Region{Name: "the stack of the program", Data: b, ReadOnly: true})
	w.transient = append(w.transient, r)
	return r.Addr()
}

func (w *World) fs(t *task) uint64 {
	fs := w.passing("fs_struct")
	for _, which := range []string{"root", "pwd"} {
		fs.set(w.mount.at("mnt"), which, "mnt")
	}
	fs.set(w.root.addr(), "root", "dentry")
	if t.knows(taskwatch.FieldCwd) {
		fs.point(func() (uint64, error) { return w.dentry(t.state.Cwd, 0, false) }, "pwd", "dentry")
	}
	return fs.addr()
}

const (
	ptsMajor     = 136
	consoleMajor = 4

	sessionPID = 3 // PIDTYPE_SID, in the array of a process
)

func (w *World) signal(t *task) uint64 {
	p := t.process
	if p == nil && t.seen == 0 && t.knows(taskwatch.FieldPID) {
		p = w.processes[t.state.PID]
	}
	var s *object
	if p != nil {
		s = p.signal
		s.forget()
		w.fillThreads(p)
	} else {
		s = w.passing("signal_struct")
	}
	if t.given(taskwatch.FieldSID) {
		pid := w.passing("pid")
		pid.set(uint64(t.extra.SID), "numbers", "nr")
		s.setElement(sessionPID, pid.addr(), "pids")
	}
	if !t.given(taskwatch.FieldTTY) {
		return s.addr()
	}
	if t.extra.TTY == "" {
		s.set(0, "tty")
		return s.addr()
	}
	tty, driver := w.passing("tty_struct"), w.passing("tty_driver")
	name, major := t.extra.TTY, uint64(consoleMajor)
	if n, ok := strings.CutPrefix(name, "pts/"); ok {
		name, major = "pts"+n, ptsMajor
	}
	driver.set(major, "major")
	tty.set(driver.addr(), "driver")
	tty.setText(name, "name")
	s.set(tty.addr(), "tty")
	return s.addr()
}

func (w *World) cgroups(t *task) uint64 {
	set, group, node := w.passing("css_set"), w.passing("cgroup"), w.passing("kernfs_node")
	set.set(group.addr(), "dfl_cgrp")
	group.set(node.addr(), "kn")
	if t.given(taskwatch.FieldCgroupID) {
		node.set(t.extra.CgroupID, "id")
	}
	return set.addr()
}
