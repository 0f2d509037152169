// Module fields sends everything it can read of every event.
package main

import "github.com/taskwatch/taskwatch/guest"

var (
	number = guest.Uint64("number", 7, "a number")
	signed = guest.Int64("signed", -7, "a number with a sign")
	yes    = guest.Bool("yes", true, "a truth")
	prefix = guest.String("prefix", 8, "/tmp/", "a string")
	events = guest.Counter("events", "all of them")
	last   = guest.Gauge("last", "minus the kind of the last one")
	counts = guest.Counters("counts", "by kind", 7)
)

func init() {
	guest.Describe(guest.Info{
		License: "Apache-2.0", Description: "sends what it reads", Author: "taskwatch", Version: "1.2",
		Veto: []guest.Kind{guest.Init, guest.Exec},
	})
}

// seen has the fields of taskwatch.Event and taskwatch.Task.
type seen struct {
	Kind               guest.Kind
	Val, Seq           uint64
	TimeNS, MonoNS     int64
	OldExe             string
	OldIDs             guest.IDs
	Cause              guest.Cause
	Exit               guest.ExitStatus
	Rusage             guest.Rusage
	LifetimeNS         int64
	Inferred, Final    bool
	Missing            guest.Fields
	ID, ParentID       guest.TaskID
	PID, TID, PPID     int
	StartNS            int64
	Comm, Exe          string
	Argv               []string
	ArgvCut            bool
	Cwd                string
	UID, GID           guest.IDs
	Cgroup             string
	Arg                string // the second
	Number             uint64
	Signed             int64
	Yes                bool
	Prefix             string
	ValIsThatOfTheTask bool
}

func see(val uint64, t *guest.Task) int32 {
	*events++
	*last = -int64(t.Kind())
	counts[t.Kind()]++
	err := guest.EmitJSON(&seen{
		Kind: t.Kind(), Val: val, Seq: t.Seq(), TimeNS: t.Time().UnixNano(), MonoNS: t.MonoNS(), OldExe: t.OldExe(),
		OldIDs: t.OldIDs(), Cause: t.Cause(), Exit: t.Exit(), Rusage: t.Rusage(), LifetimeNS: t.LifetimeNS(),
		Inferred: t.Inferred(), Final: t.Final(), Missing: t.Missing(), ID: t.ID(), ParentID: t.ParentID(),
		PID: t.PID(), TID: t.TID(), PPID: t.PPID(), StartNS: t.StartNS(), Comm: t.Comm(), Exe: t.Exe(), Argv: t.Argv(),
		ArgvCut: t.ArgvCut(), Cwd: t.Cwd(), UID: t.UID(), GID: t.GID(), Cgroup: t.Cgroup(), Arg: t.Arg(1),
		Number: *number, Signed: *signed, Yes: *yes, Prefix: prefix.String(), ValIsThatOfTheTask: val == t.Val(),
	})
	if err != nil {
		guest.Logf(guest.LevelError, "emit: %v", err)
		return guest.EIO
	}
	return 0
}

//go:wasmexport __task_watcher_init_see
func onInit(val uint64, t *guest.Task) int32 { return see(val, t) }

//go:wasmexport __task_watcher_clone_see
func onClone(val uint64, t *guest.Task) int32 { return see(val, t) }

//go:wasmexport __task_watcher_exec_see
func onExec(val uint64, t *guest.Task) int32 { return see(val, t) }

//go:wasmexport __task_watcher_uid_see
func onUID(val uint64, t *guest.Task) int32 { return see(val, t) }

//go:wasmexport __task_watcher_gid_see
func onGID(val uint64, t *guest.Task) int32 { return see(val, t) }

//go:wasmexport __task_watcher_exit_see
func onExit(val uint64, t *guest.Task) int32 { return see(val, t) }

//go:wasmexport __task_watcher_free_see
func onFree(val uint64, t *guest.Task) int32 { return see(val, t) }

func main() {}
