// What kept.c does, in Go.
package main

import (
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/guest/storage"
	"github.com/taskwatch/taskwatch/guest/storage/byprocess"
)

type account struct {
	execs uint64
	list  [2]int32
	on    bool
}

var (
	gid       = guest.Uint64("gid", 1<<32-1, "the group")
	lines     = storage.New[account]("lines")
	accounts  = byprocess.New[account]("accounts")
	tasks     = guest.Counter("tasks", "execs of those that have exited")
	processes = guest.Counter("processes", "execs of those that have exited")
)

//go:wasmexport __task_watcher_exec_count
func count(_ uint64, t *guest.Task) int32 {
	if uint64(t.GID()[0]) == *gid {
		lines.Create(t).execs++
		accounts.Create(t).execs++
	}
	return 0
}

//go:wasmexport __task_watcher_exit_add
func add(_ uint64, t *guest.Task) int32 {
	if uint64(t.GID()[0]) != *gid {
		return 0
	}
	if l := lines.Get(t); l != nil {
		*tasks += l.execs
	}
	if a := accounts.Get(t); a != nil {
		*processes += a.execs
	}
	return 0
}

func main() {}
