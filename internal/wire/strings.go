package wire

import "github.com/taskwatch/taskwatch"

// Strings holds what the record of an event has not: its strings. They are
// those of the event, by reference.
type Strings struct {
	Missing                        taskwatch.Fields // of the event
	Comm, Exe, Cwd, Cgroup, OldExe string
	Argv                           []string         // never changed in place
	Extra                          *taskwatch.Extra // a copy, or nil

	// ParentExe is the program of the task's parent, or "" if that is not known. No
	// event has it: the host sets it after Set.
	ParentExe string
}

// Set takes the strings of an event.
func (s *Strings) Set(ev *taskwatch.Event) {
	task := ev.Task
	s.Missing, s.OldExe, s.ParentExe = ev.Missing, ev.OldExe, ""
	s.Extra = nil
	if ev.Extra != nil {
		x := *ev.Extra
		s.Extra = &x
	}
	s.Comm, s.Exe, s.Argv, s.Cwd, s.Cgroup = task.Comm, task.Exe, task.Argv, task.Cwd, task.Cgroup
}

// Same reports whether it has the strings of an event already, but for ParentExe. It
// may say no where they are equal.
func (s *Strings) Same(ev *taskwatch.Event) bool {
	task := ev.Task
	return s.Missing == ev.Missing && s.Extra == nil && ev.Extra == nil &&
		s.Comm == task.Comm && s.Exe == task.Exe && s.Cwd == task.Cwd && s.Cgroup == task.Cgroup && s.OldExe == ev.OldExe &&
		len(s.Argv) == len(task.Argv) && (s.Argv == nil) == (task.Argv == nil) &&
		(len(s.Argv) == 0 || &s.Argv[0] == &task.Argv[0])
}

// Field returns the string with that number. It is there if the source could
// give it and it is not hidden, and known if the number is that of a string.
func (s *Strings) Field(number, index uint32, hidden taskwatch.Fields) (value string, there, known bool) {
	has := func(f taskwatch.Fields) bool { return (s.Missing|hidden)&f == 0 }
	switch number {
	case StringComm:
		return s.Comm, has(taskwatch.FieldComm), true
	case StringExe:
		return s.Exe, has(taskwatch.FieldExe), true
	case StringArgv:
		if uint64(index) >= uint64(len(s.Argv)) {
			return "", false, true
		}
		return s.Argv[index], has(taskwatch.FieldArgv), true
	case StringCwd:
		return s.Cwd, has(taskwatch.FieldCwd), true
	case StringCgroup:
		return s.Cgroup, has(taskwatch.FieldCgroup), true
	case StringOldExe:
		return s.OldExe, has(taskwatch.FieldOldExe), true
	case StringParentExe:
		return s.ParentExe, s.ParentExe != "", true
	}
	value, field := extraText(s.Extra, number, index)
	return value, field != 0 && s.Extra.Given&field != 0 && has(field), number < numStrings
}

// Give gives an event what its record has not.
func (s *Strings) Give(ev *taskwatch.Event) {
	t := ev.Task
	ev.OldExe = s.OldExe
	t.Comm, t.Exe, t.Argv, t.Cwd, t.Cgroup = s.Comm, s.Exe, s.Argv, s.Cwd, s.Cgroup
	if ev.Extra != nil && s.Extra != nil {
		setTexts(ev.Extra, s.Extra)
	}
}
