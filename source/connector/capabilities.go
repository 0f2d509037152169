package connector

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source"
)

// What of a task is told only at an exec.
const execOnly = taskwatch.FieldCwd | taskwatch.FieldCgroup

// lasting are the optional fields that stay what they were at an exec until the
// next. The others a task may have changed before its files are read.
const lasting = taskwatch.FieldVPID | taskwatch.FieldNSPID | taskwatch.FieldExeHost | taskwatch.FieldExeDev | taskwatch.FieldExeIno |
	taskwatch.FieldEnv | taskwatch.FieldCapsSecure

// What may be unknown of a task: all but its ids, because a loss may have hit
// the event that told it, /proc may have been too late, and another user's
// task may not be readable.
const mayMiss = taskwatch.FieldParentID | taskwatch.FieldPPID | taskwatch.FieldStart | taskwatch.FieldComm |
	taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldUID | taskwatch.FieldGID

func capabilities(cfg *Config) source.Capabilities {
	const noVeto = "the connector reports only what has already happened"
	caps := source.Capabilities{Scope: "the machine"}
	if cfg.PID != 0 {
		caps.Scope = "one process and its descendants"
	}
	caps.Events[taskwatch.Init] = source.Capability{Why: "the connector has no message for it"}
	caps.Events[taskwatch.Clone] = source.Capability{
		Delivered: true,
		Hook:      "PROC_EVENT_FORK",
		Missing:   taskwatch.FieldVal | execOnly,
		MayMiss:   mayMiss,
		Why:       "the message has no clone flags; cwd and cgroup are read only at an exec; parent_id is that of the real parent",
	}
	caps.Events[taskwatch.Exec] = source.Capability{
		Delivered: true,
		Hook:      "PROC_EVENT_EXEC and /proc",
		MayMiss:   mayMiss | execOnly | taskwatch.FieldOldExe,
		Why:       noVeto + "; a program that ends at once is gone from /proc before it can be read",
	}
	caps.Events[taskwatch.UID] = source.Capability{
		Delivered: true,
		Hook:      "PROC_EVENT_UID and /proc",
		Missing:   taskwatch.FieldCause | execOnly,
		MayMiss:   mayMiss | taskwatch.FieldOld,
		Why:       noVeto + ", and not what caused it; cwd and cgroup are read only at an exec",
	}
	caps.Events[taskwatch.GID] = caps.Events[taskwatch.UID]
	caps.Events[taskwatch.GID].Hook = "PROC_EVENT_GID and /proc"
	caps.Events[taskwatch.GID].Why += "; setgroups has no message"
	caps.Events[taskwatch.Exit] = source.Capability{
		Delivered: true,
		Hook:      "PROC_EVENT_EXIT",
		Missing:   taskwatch.FieldsRusage | execOnly,
		MayMiss:   mayMiss | taskwatch.FieldExitGroup,
		Why:       "the message has no rusage, and the task is gone when it arrives; cwd and cgroup are read only at an exec",
	}
	caps.Events[taskwatch.Free] = source.Capability{Why: "the connector has no message for it"}
	for k := range caps.Events {
		if c := &caps.Events[k]; c.Delivered {
			c.Missing |= taskwatch.OptionalOf(taskwatch.Kind(k))
		}
	}
	caps.Events[taskwatch.Exec].Missing &^= lasting
	return caps
}
