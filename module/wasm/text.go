package wasm

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// text holds what the record of an event has not: its strings.
type text struct {
	missing                        taskwatch.Fields
	comm, exe, cwd, cgroup, oldExe string
	argv                           []string // never changed in place
	source                         string
}

func (t *text) set(ev *taskwatch.Event) {
	task := ev.Task
	t.missing, t.source, t.oldExe = ev.Missing, ev.Source, ev.OldExe
	t.comm, t.exe, t.argv, t.cwd, t.cgroup = task.Comm, task.Exe, task.Argv, task.Cwd, task.Cgroup
}

// event returns the event that the text and the record are of.
func (t *text) event(record *[wire.Size]byte) *taskwatch.Event {
	ev, err := wire.Decode(record[:])
	if err != nil {
		panic("wasm: " + err.Error()) // it was made by wire.Put
	}
	task := ev.Task
	ev.Source, ev.OldExe = t.source, t.oldExe
	task.Comm, task.Exe, task.Argv, task.Cwd, task.Cgroup = t.comm, t.exe, t.argv, t.cwd, t.cgroup
	return ev
}

// field returns the string with that number, and false where the source could
// not give it.
func (t *text) field(number, index uint32) (value string, there, known bool) {
	has := func(f taskwatch.Fields) bool { return t.missing&f == 0 }
	switch number {
	case wire.StringComm:
		return t.comm, has(taskwatch.FieldComm), true
	case wire.StringExe:
		return t.exe, has(taskwatch.FieldExe), true
	case wire.StringArgv:
		if uint64(index) >= uint64(len(t.argv)) {
			return "", false, true
		}
		return t.argv[index], has(taskwatch.FieldArgv), true
	case wire.StringCwd:
		return t.cwd, has(taskwatch.FieldCwd), true
	case wire.StringCgroup:
		return t.cgroup, has(taskwatch.FieldCgroup), true
	case wire.StringOldExe:
		return t.oldExe, has(taskwatch.FieldOldExe), true
	}
	return "", false, false
}
