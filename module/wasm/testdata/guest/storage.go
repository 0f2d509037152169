// A value for each task, inherited.
package main

import (
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/guest/storage"
)

type line struct{ generation uint64 }

var (
	lines = storage.New[line]("lines")
	sum   = guest.Counter("sum", "generations of the tasks that were freed")
)

//go:wasmexport __task_watcher_exec_begin
func begin(_ uint64, t *guest.Task) int32 {
	lines.Create(t)
	return 0
}

//go:wasmexport __task_watcher_init_inherit
func inherit(_ uint64, t *guest.Task) int32 {
	if l := lines.Inherit(t); l != nil {
		l.generation++
	}
	return 0
}

//go:wasmexport __task_watcher_free_last
func last(_ uint64, t *guest.Task) int32 {
	if l := lines.Get(t); l != nil {
		*sum += l.generation
	}
	return 0
}

func main() {}
