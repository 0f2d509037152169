// Module reads asks for optional fields and for the program of the parent.
package main

import "github.com/taskwatch/taskwatch/guest"

func init() {
	guest.Describe(guest.Info{Reads: guest.FieldSid | guest.FieldCapsEffective | guest.FieldPID, ParentExe: true})
}

//go:wasmexport __task_watcher_exec_look
func look(val uint64, t *guest.Task) int32 {
	if err := guest.EmitJSON([]any{t.SID(), t.Has(guest.FieldSid), t.ParentExe()}); err != nil {
		return guest.EIO
	}
	return 0
}

func main() {}
