// What a module keeps that takes the place of another one.
package main

import (
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/guest/storage"
	"github.com/taskwatch/taskwatch/guest/storage/byprocess"
)

type line struct {
	execs uint64
	name  string
	list  []int
	at    [2]struct{ x, y int32 }
}

var (
	lines    = storage.New[line]("lines")
	private  = storage.New[uint64]()
	accounts = byprocess.New[uint32]("accounts")
	names    = storage.New[string]("names")
	total    = guest.Counter("total", "programs run")
	here     = guest.Gauge("here", "tasks that are there")
	kinds    = guest.Counters("kinds", "by kind", 3)
)

//go:wasmexport __task_watcher_exec_count
func count(_ uint64, t *guest.Task) int32 {
	l := lines.Create(t)
	l.execs++
	l.name, l.list = "name", append(l.list, 1)
	l.at[1].y--
	*names.Create(t) = "name"
	*accounts.Create(t)++
	*private.Create(t)++
	*total++
	kinds[2]++
	return 0
}

//go:wasmexport __task_watcher_attach_begin
func attach(_ uint64, t *guest.Task) int32 { *here++; return 0 }

//go:wasmexport __task_watcher_detach_end
func detach(_ uint64, t *guest.Task) int32 { *here--; return 0 }

//go:wasmexport __task_watcher_free_end
func free(_ uint64, t *guest.Task) int32 { *here--; return 0 }

func main() {}
