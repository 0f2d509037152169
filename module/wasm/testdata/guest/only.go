// Module only says that it reads only some fields, and looks at others, too.
package main

import "github.com/taskwatch/taskwatch/guest"

func init() {
	guest.Describe(guest.Info{Only: true, Reads: guest.FieldExe | guest.FieldRusageUtime | guest.FieldRusageStime | guest.FieldRusageMaxrssBytes})
}

//go:wasmexport __task_watcher_exit_look
func look(val uint64, t *guest.Task) int32 {
	usage := t.Rusage()
	seen := map[string]any{
		"code": t.Exit().Code, "uid": t.UID()[guest.RealID], "exe": t.Exe(), "cpu": usage.UTimeNS + usage.STimeNS, "maxrss": usage.MaxRSS,
		"missing": t.Missing(), "cwd": t.Cwd(), "cgroup": t.Cgroup(), "argv": t.Argv(), "minflt": usage.MinFlt,
	}
	if err := guest.EmitJSON(seen); err != nil {
		return guest.EIO
	}
	return 0
}

func main() {}
