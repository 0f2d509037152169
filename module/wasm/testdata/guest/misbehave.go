// Module misbehave does what its parameter says when a program is run.
package main

import (
	"os"
	"time"

	"github.com/taskwatch/taskwatch/guest"
)

var (
	how    = guest.String("how", 32, "", "what to do wrong")
	begins = guest.Counter("begins", "how often it began to, and exits")

	nobody *guest.Info
	kept   [][]byte
	never  = make(chan int)
)

//go:wasmexport __task_watcher_exec_misbehave
func misbehave(val uint64, t *guest.Task) int32 {
	*begins++
	switch how.String() {
	case "panic":
		panic("it is broken: " + t.Exe())
	case "nil":
		nobody.Author = "nobody"
	case "index":
		kept[t.PID()] = nil
	case "loop":
		for {
		}
	case "recursion":
		return recurse(t)
	case "memory":
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case "deadlock":
		<-never
	case "sleep":
		time.Sleep(time.Hour)
	case "exit":
		os.Exit(0)
	}
	return 0
}

func recurse(t *guest.Task) int32 { return 1 + recurse(t) }

//go:wasmexport __task_watcher_exit_count
func count(val uint64, t *guest.Task) int32 {
	*begins++
	return 0
}

func main() {}
