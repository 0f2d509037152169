package recorded

import (
	"path"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel/internal/machine"
)

// Program returns the address of the struct linux_binprm of an exec.
func (w *World) Program() uint64 {
	t := w.subject
	b := w.passing("linux_binprm")
	b.set(0, "mm")
	if t.knows(taskwatch.FieldExe) {
		b.point(t.exeFile(w), "file")
	}
	if t.hasArgv() {
		b.set(uint64(len(t.state.Argv)), "argc")
	}
	interpreter := w.unknownName()
	b.set(interpreter, "interp")
	if script := t.script(); script != "" {
		b.set(w.text("the name that exec was given", script), "filename")
	} else {
		b.set(interpreter, "filename")
	}
	return b.addr()
}

// unknownName makes a string that is not known; it goes when the event is over.
func (w *World) unknownName() uint64 {
	name := w.machine.Memory.Add(&machine.Region{
		Name: "the name that exec was given", Data: []byte{0}, Known: []bool{false}, ReadOnly: true,
	})
	w.transient = append(w.transient, name)
	return name.Addr()
}

// script returns the name that the script was called by that has just been run, or "" if
// it is a program.
//
// The kernel names the task by the script, and gives the interpreter that name among the
// first arguments, behind its own path. A program is named as its argument 0, as a
// rule; one that is not has to have its name as another argument to be mistaken.
func (t *task) script() string {
	const (
		longest = 15 // of a task's name
		most    = 10 // arguments before it: scripts nest five deep, and each interpreter may have one
	)
	named := func(name string) bool {
		name = path.Base(name)
		return name[:min(len(name), longest)] == t.state.Comm
	}
	s := t.state
	if !t.hasArgv() || !t.knows(taskwatch.FieldComm|taskwatch.FieldExe) || !strings.Contains(s.Argv[0], "/") || named(s.Argv[0]) || named(s.Exe) {
		return ""
	}
	for _, arg := range s.Argv[1:min(len(s.Argv), most+1)] {
		if named(arg) {
			return arg
		}
	}
	return ""
}
