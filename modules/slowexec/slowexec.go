// Module slowexec tells which commands fail or take long, in the sandbox:
//
//	taskwatch module build modules/slowexec/slowexec.go -o slowexec.wasm
//	taskwatch run -m slowexec.wasm,slow_ms=500 --globals -- make
//
// A command is what a process runs from an exec to the next one, or to its
// end. See docs/modules/slowexec.md.
package main

import (
	"errors"

	"github.com/taskwatch/taskwatch/guest"
)

var (
	slowMS = guest.Uint64("slow_ms", 1000, "report commands that run for at least this many milliseconds; 0 reports none")
	fails  = guest.Bool("failed", true, "tell of commands that fail")

	commands = guest.Counter("commands", "that have ended")
	failed   = guest.Counter("failures", "commands that failed")
	slow     = guest.Counter("slow", "commands that were slow")
)

func init() {
	guest.Describe(guest.Info{
		License:     "Apache-2.0",
		Description: "reports commands that fail or take long",
		Only:        true,
		Reads:       guest.FieldExe | guest.FieldOldExe | guest.FieldArgv,
	})
}

// began is when the command of each process began, in nanoseconds.
var began = map[int]int64{}

//go:wasmexport __task_watcher_exec_begin
func begin(val uint64, t *guest.Task) int32 {
	if at, running := began[t.PID()]; running {
		ended(t, at, guest.ExitStatus{}, t.OldExe()) // by the exec of another
	}
	began[t.PID()] = t.MonoNS()
	return 0
}

//go:wasmexport __task_watcher_exit_end
func end(val uint64, t *guest.Task) int32 {
	exit := t.Exit()
	at, running := began[t.PID()]
	if !exit.Group || !running {
		return 0 // a thread, or a process that has run nothing
	}
	delete(began, t.PID())
	ended(t, at, exit, t.Exe())
	return 0
}

// report is what is told of a command.
type report struct {
	Why    []string `json:"why"`
	MS     int64    `json:"ms"`
	Code   int      `json:"code"`
	Signal int      `json:"signal,omitempty"`
	PID    int      `json:"pid"`
	Exe    string   `json:"exe"`
	Argv   []string `json:"argv,omitempty"`
}

// ended counts a command and tells of it if it is worth it.
func ended(t *guest.Task, began int64, exit guest.ExitStatus, exe string) {
	*commands++
	r := report{MS: (t.MonoNS() - began) / 1e6, Code: exit.Code, Signal: exit.Signal, PID: t.PID(), Exe: exe}
	if t.Kind() == guest.Exit {
		r.Argv = t.Argv() // at exec they are those of the next command
	}
	if exit.Code != 0 || exit.Signal != 0 {
		*failed++
		if *fails {
			r.Why = append(r.Why, "failed")
		}
	}
	if *slowMS != 0 && r.MS >= int64(*slowMS) {
		*slow++
		r.Why = append(r.Why, "slow")
	}
	if r.Why == nil {
		return
	}
	if err := guest.EmitJSON(r); err != nil && !errors.Is(err, guest.Errno(guest.ENOENT)) { // nobody listens
		guest.Logf(guest.LevelWarn, "%s is not reported: %v", exe, err)
	}
}

func main() {}
