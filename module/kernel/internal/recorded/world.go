package recorded

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel/internal/machine"
)

// World has the tasks of a recording. It may be used by one goroutine at a time.
type World struct {
	layout  *layout
	machine *machine.Machine

	tasks   map[taskwatch.TaskID]*task
	strays  map[*task]bool // that no event was about
	leaders map[int]*task  // by process id

	processes map[int]*process // by id
	byAddr    map[uint64]*task

	mount, root *object

	read map[*task]bool // since the event began

	whole   bool // the recording has each clone and each exit
	command bool // the next event is the first one of a command

	event     *taskwatch.Event
	subject   *task // that the event is about
	current   *task // that runs, or nil if it is not known
	transient []*machine.Region
}

// New returns a world without tasks, with memory in m.
func New(m *machine.Machine) (*World, error) {
	l, err := newLayout()
	if err != nil {
		return nil, err
	}
	w := &World{layout: l, machine: m, tasks: map[taskwatch.TaskID]*task{}, strays: map[*task]bool{},
		leaders: map[int]*task{}, processes: map[int]*process{}, byAddr: map[uint64]*task{}, read: map[*task]bool{}, whole: true}
	w.makeMount()
	return w, nil
}

// Types returns the types of the structures, for relocations.
func (w *World) Types() *btf.Spec { return w.layout.Spec }

// Begin makes the world as it is at an event, and returns the address of its task.
func (w *World) Begin(ev *taskwatch.Event) uint64 {
	t := w.tasks[ev.Task.ID]
	if t == nil {
		t = w.newTask()
		w.tasks[ev.Task.ID] = t
		t.born, w.command = w.command, false
	}
	w.event, w.subject = ev, t
	t.update(ev)
	w.index(t)
	w.join(t, ev)
	if ev.Kind == taskwatch.Init || ev.Kind == taskwatch.Clone {
		w.enter(t, ev)
	}
	switch ev.Kind {
	case taskwatch.Init, taskwatch.Clone:
		w.current = w.creator(t)
	case taskwatch.Free:
		w.current = nil
	default:
		w.current = t
	}
	w.fill(t)
	w.read[t] = true
	return t.addr()
}

// Elsewhere says that an unknown task runs, as at attach, until the function that it
// returns is called.
func (w *World) Elsewhere() (back func()) {
	current := w.current
	w.current = nil
	return func() { w.current = current }
}

// Clear forgets all tasks. What follows is of another run.
func (w *World) Clear(start *taskwatch.Start) {
	w.whole = start.Events[taskwatch.Clone].Delivered && start.Events[taskwatch.Exit].Delivered
	w.command = len(start.Command) > 0
	for _, t := range w.tasks {
		w.remove(t)
	}
	clear(w.tasks)
}

// End forgets what the event has brought. After free that is the task.
func (w *World) End() {
	for _, r := range w.transient {
		w.machine.Memory.Remove(r)
	}
	w.transient = w.transient[:0]
	for t := range w.strays {
		w.remove(t)
	}
	if ev := w.event; ev.Kind == taskwatch.Exit || ev.Kind == taskwatch.Free {
		w.leave(w.subject)
	}
	if ev := w.event; ev.Kind == taskwatch.Free {
		delete(w.tasks, ev.Task.ID)
		w.remove(w.subject)
	}
	w.event, w.subject, w.current = nil, nil, nil
	for t := range w.read { // what they pointed to has gone
		w.fill(t)
	}
	clear(w.read)
}

// remove forgets a task.
func (w *World) remove(t *task) {
	w.part(t)
	w.machine.DropTask(t.addr())
	w.machine.Memory.Remove(t.region)
	delete(w.byAddr, t.addr())
	delete(w.strays, t)
	delete(w.read, t)
	if w.leaders[t.state.PID] == t {
		delete(w.leaders, t.state.PID)
	}
}

// Tasks calls fn with the address of each task that an event was about, and that is
// not freed, in the order of their first events.
func (w *World) Tasks(fn func(id taskwatch.TaskID, addr uint64) error) error {
	ids := slices.SortedFunc(maps.Keys(w.tasks), func(a, b taskwatch.TaskID) int {
		return cmp.Compare(w.tasks[a].addr(), w.tasks[b].addr())
	})
	for _, id := range ids {
		if err := fn(id, w.tasks[id].addr()); err != nil {
			return err
		}
	}
	return nil
}

// Find returns the address of the task with that id of the kernel, or 0.
func (w *World) Find(tid int) uint64 {
	for _, t := range w.tasks {
		if t.knows(taskwatch.FieldTID) && t.state.TID == tid {
			return t.addr()
		}
	}
	return 0
}

// At reports whether a task is at an address, and whether an event was about it: the
// others have another place each time.
func (w *World) At(addr uint64) (there, lasting bool) {
	t := w.byAddr[addr]
	return t != nil, t != nil && t.seen != 0
}

// IDs returns the address of the struct task_ids of a change of ids.
func (w *World) IDs() uint64 {
	ev := w.event
	now, field, what := ev.Task.UID, taskwatch.FieldUID, "uid"
	if ev.Kind == taskwatch.GID {
		now, field, what = ev.Task.GID, taskwatch.FieldGID, "gid"
	}
	const size = 40 // old, now, cause, reserved: see task_watchers.h
	r := &machine.Region{Name: "struct task_ids", Data: make([]byte, size), Known: make([]bool, size), ReadOnly: true,
		Field: func(offset int) string {
			return [...]string{"the old ids", "the new " + what, "the cause"}[min(offset/16, 2)]
		}}
	ids := func(list taskwatch.IDs) (b []byte) {
		for _, id := range list {
			b = binary.NativeEndian.AppendUint32(b, id)
		}
		return b
	}
	known := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	if known&taskwatch.FieldOld != 0 {
		r.Set(0, ids(ev.OldIDs))
	}
	if known&field != 0 {
		r.Set(16, ids(now))
	}
	if known&taskwatch.FieldCause != 0 {
		r.Set(32, binary.NativeEndian.AppendUint32(nil, uint32(ev.Cause)))
	}
	r.Set(36, make([]byte, 4))
	w.machine.Memory.Add(r)
	w.transient = append(w.transient, r)
	return r.Addr()
}

// Helper calls a helper about the running task or the time. ok says whether there is
// such a one.
func (w *World) Helper(fn asm.BuiltinFunc, a [5]uint64) (result uint64, ok bool, err error) {
	switch fn {
	case asm.FnKtimeGetNs, asm.FnKtimeGetBootNs, asm.FnKtimeGetCoarseNs:
		if w.event == nil || w.event.MonoNS == 0 {
			return 0, true, machine.Unsupported("it asks for the time, which the recording does not have here")
		}
		return uint64(w.event.MonoNS), true, nil
	case asm.FnGetCurrentTask, asm.FnGetCurrentTaskBtf, asm.FnGetCurrentPidTgid, asm.FnGetCurrentUidGid, asm.FnGetCurrentComm, asm.FnGetCurrentCgroupId:
	default:
		return 0, false, nil
	}
	if w.current == nil {
		return 0, true, machine.Unsupported("it asks about the running task, which is not known here")
	}
	r, err := w.ofCurrent(fn, a)
	return r, true, err
}

// ofCurrent calls a helper about the running task.
func (w *World) ofCurrent(fn asm.BuiltinFunc, a [5]uint64) (uint64, error) {
	t := w.current
	need := func(f taskwatch.Fields) error {
		if t.knows(f) {
			return nil
		}
		return machine.Unsupported("it asks for %s of the running task, which the recording does not have here", f)
	}
	switch fn {
	case asm.FnGetCurrentPidTgid:
		return uint64(t.state.PID)<<32 | uint64(t.state.TID), need(taskwatch.FieldPID | taskwatch.FieldTID)
	case asm.FnGetCurrentUidGid:
		return uint64(t.state.GID[taskwatch.RealID])<<32 | uint64(t.state.UID[taskwatch.RealID]), need(taskwatch.FieldUID | taskwatch.FieldGID)
	case asm.FnGetCurrentComm:
		const most = 4096 // what is behind the name is zero
		b := make([]byte, min(uint32(a[1]), most))
		if len(b) > 0 {
			copy(b[:len(b)-1], t.state.Comm)
		}
		if err := need(taskwatch.FieldComm); err != nil {
			return 0, err
		}
		return 0, w.machine.Memory.Write(a[0], b)
	case asm.FnGetCurrentCgroupId:
		if !t.given(taskwatch.FieldCgroupID) {
			return 0, machine.Unsupported("it asks for cgroup_id of the running task, which the recording does not have here")
		}
		return t.extra.CgroupID, nil
	}
	return t.addr(), nil
}
