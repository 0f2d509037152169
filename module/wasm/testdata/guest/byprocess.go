// A value for each process, inherited.
package main

import (
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/guest/storage/byprocess"
)

type line struct{ generation, threads uint64 }

var (
	lines = byprocess.New[line]("lines")
	sum   = guest.Counter("sum", "generations and threads of the tasks that exited")
)

//go:wasmexport __task_watcher_exec_begin
func begin(_ uint64, t *guest.Task) int32 {
	lines.Create(t)
	return 0
}

//go:wasmexport __task_watcher_clone_inherit
func inherit(_ uint64, t *guest.Task) int32 {
	if l := lines.Inherit(t); l == nil {
		return 0
	} else if t.TID() == t.PID() {
		*l = line{generation: l.generation + 1}
	} else {
		l.threads++
	}
	return 0
}

//go:wasmexport __task_watcher_exit_last
func last(_ uint64, t *guest.Task) int32 {
	if l := lines.Get(t); l != nil {
		*sum += l.generation*1000 + l.threads
	}
	return 0
}

func main() {}
