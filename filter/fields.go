package filter

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/process"
)

// The classes. Names of fields are those of recordings; ids are numbers, with
// a list of all four beside them; times in nanoseconds are numbers, with CEL's
// own types beside them.
var (
	eventClass *class // set by init, since it has itself as a field

	exitClass = newClass("taskwatch.Exit",
		field{name: "code", typ: cel.IntType, bit: taskwatch.FieldExitCode, doc: "what was passed to exit",
			get: number(func(it *item) int64 { return int64(it.ev.Exit.Code) })},
		field{name: "signal", typ: cel.IntType, bit: taskwatch.FieldExitSignal, doc: "the signal that killed, or 0",
			get: number(func(it *item) int64 { return int64(it.ev.Exit.Signal) })},
		field{name: "core", typ: cel.BoolType, bit: taskwatch.FieldExitCore, doc: "a core dump was written",
			get: boolean(func(it *item) bool { return it.ev.Exit.Core })},
		field{name: "group", typ: cel.BoolType, bit: taskwatch.FieldExitGroup, doc: "the whole process ends",
			get: boolean(func(it *item) bool { return it.ev.Exit.Group })},
	)

	rusageClass = newClass("taskwatch.Rusage",
		field{name: "utime_ns", typ: cel.IntType, bit: taskwatch.FieldUTime, doc: "CPU time",
			get: number(func(it *item) int64 { return int64(it.ev.Rusage.UTimeNS) })},
		field{name: "utime", typ: cel.DurationType, bit: taskwatch.FieldUTime, doc: "the same",
			get: duration(func(it *item) int64 { return it.ev.Rusage.UTimeNS })},
		field{name: "stime_ns", typ: cel.IntType, bit: taskwatch.FieldSTime, doc: "CPU time",
			get: number(func(it *item) int64 { return int64(it.ev.Rusage.STimeNS) })},
		field{name: "stime", typ: cel.DurationType, bit: taskwatch.FieldSTime, doc: "the same",
			get: duration(func(it *item) int64 { return it.ev.Rusage.STimeNS })},
		field{name: "maxrss_bytes", typ: cel.IntType, bit: taskwatch.FieldMaxRSS, doc: "as recordings have it",
			get: number(func(it *item) int64 { return int64(it.ev.Rusage.MaxRSS) })},
		field{name: "minflt", typ: cel.IntType, bit: taskwatch.FieldMinFlt, doc: "as recordings have it",
			get: number(func(it *item) int64 { return int64(it.ev.Rusage.MinFlt) })},
		field{name: "majflt", typ: cel.IntType, bit: taskwatch.FieldMajFlt, doc: "as recordings have it",
			get: number(func(it *item) int64 { return int64(it.ev.Rusage.MajFlt) })},
		field{name: "nvcsw", typ: cel.IntType, bit: taskwatch.FieldNVCSw, doc: "as recordings have it",
			get: number(func(it *item) int64 { return int64(it.ev.Rusage.NVCSw) })},
		field{name: "nivcsw", typ: cel.IntType, bit: taskwatch.FieldNIvCSw, doc: "as recordings have it",
			get: number(func(it *item) int64 { return int64(it.ev.Rusage.NIvCSw) })},
		field{name: "read_bytes", typ: cel.IntType, bit: taskwatch.FieldReadBytes, doc: "as recordings have it",
			get: number(func(it *item) int64 { return int64(it.ev.Rusage.ReadBytes) })},
		field{name: "write_bytes", typ: cel.IntType, bit: taskwatch.FieldWriteBytes, doc: "as recordings have it",
			get: number(func(it *item) int64 { return int64(it.ev.Rusage.WriteBytes) })},
	)

	selfClass = newClass("taskwatch.Self")

	containerClass = newClass("taskwatch.Container",
		field{name: "id", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "the whole id, or empty",
			get: text(func(it *item) string { return it.place().ID })},
		field{name: "runtime", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "docker, podman ..., or empty",
			get: text(func(it *item) string { return it.place().Runtime })},
		field{name: "pod", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "the uid of the Kubernetes pod, or empty",
			get: text(func(it *item) string { return it.place().PodUID })},
		field{name: "name", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "its name, once the runtime has answered",
			get: named(func(c enrich.Container) ref.Val { return types.String(c.Name) })},
		field{name: "image", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "its image, likewise",
			get: named(func(c enrich.Container) ref.Val { return types.String(c.Image) })},
		field{name: "user", typ: cel.StringType, bit: taskwatch.FieldUID | taskwatch.FieldPID | taskwatch.FieldCgroup, doc: "the real user, as its /etc/passwd has it", get: containerUser},
		field{name: "labels", typ: cel.MapType(cel.StringType, cel.StringType), bit: taskwatch.FieldCgroup, doc: "its labels, likewise",
			get: named(func(c enrich.Container) ref.Val { return types.NewStringStringMap(types.DefaultTypeAdapter, c.Labels) })},
	)

	processClass = newClass("taskwatch.Process",
		field{name: "pid", typ: cel.IntType, tree: true, doc: "its pid", get: func(o *object) ref.Val { return types.Int(o.proc.PID) }},
		field{name: "exe", typ: cel.StringType, tree: true, doc: "the path of its program", get: commandText("exe", func(c *process.Command) string { return c.Exe })},
		field{name: "comm", typ: cel.StringType, tree: true, doc: "the name that the kernel has for it", get: commandText("comm", func(c *process.Command) string { return c.Comm })},
		field{name: "argv", typ: cel.ListType(cel.StringType), tree: true, doc: "its arguments", get: commandArgv},
	)

	parts = []*class{exitClass, rusageClass, selfClass, containerClass}

	classes = map[string]*class{}
)

func init() {
	eventClass = newClass("taskwatch.Event",
		field{name: "kind", typ: cel.StringType, bit: 0, doc: "the kind of event; emit and exec-failed too",
			get: text(func(it *item) string { return it.kind })},
		field{name: "seq", typ: cel.IntType, bit: 0, doc: "the number of the event",
			get: number(func(it *item) int64 { return int64(it.ev.Seq) })},
		field{name: "time", typ: cel.TimestampType, bit: 0, doc: "when it happened",
			get: func(o *object) ref.Val { return types.Timestamp{Time: o.item.ev.Time} }},
		field{name: "mono_ns", typ: cel.IntType, bit: 0, doc: "when it happened, by CLOCK_MONOTONIC",
			get: number(func(it *item) int64 { return int64(it.ev.MonoNS) })},
		field{name: "source", typ: cel.StringType, bit: 0, doc: "the name of the source",
			get: text(func(it *item) string { return it.ev.Source })},
		field{name: "final", typ: cel.BoolType, bit: 0, doc: "it was too late for a veto",
			get: boolean(func(it *item) bool { return it.ev.Final })},
		field{name: "late", typ: cel.BoolType, bit: 0, doc: "the kernel had done it already",
			get: boolean(func(it *item) bool { return it.ev.Late })},
		field{name: "val", typ: cel.IntType, bit: taskwatch.FieldVal, doc: "clone flags, or the exit code, raw",
			get: number(func(it *item) int64 { return int64(it.ev.Val) })},
		field{name: "pid", typ: cel.IntType, bit: taskwatch.FieldPID, doc: "the process",
			get: number(func(it *item) int64 { return int64(it.task.PID) })},
		field{name: "tid", typ: cel.IntType, bit: taskwatch.FieldTID, doc: "the task",
			get: number(func(it *item) int64 { return int64(it.task.TID) })},
		field{name: "ppid", typ: cel.IntType, bit: taskwatch.FieldPPID, doc: "the parent, as the kernel says",
			get: number(func(it *item) int64 { return int64(it.task.PPID) })},
		field{name: "start_ns", typ: cel.IntType, bit: taskwatch.FieldStart, doc: "when the task started, by CLOCK_BOOTTIME",
			get: number(func(it *item) int64 { return int64(it.task.StartNS) })},
		field{name: "start", typ: cel.DurationType, bit: taskwatch.FieldStart, doc: "the same, as the time since boot",
			get: duration(func(it *item) int64 { return it.task.StartNS })},
		field{name: "id", typ: cel.StringType, bit: 0, doc: "the task, unlike any other",
			get: text(func(it *item) string { return it.task.ID.String() })},
		field{name: "parent_id", typ: cel.StringType, bit: taskwatch.FieldParentID, doc: "the task that made it",
			get: text(func(it *item) string { return it.task.ParentID.String() })},
		field{name: "comm", typ: cel.StringType, bit: taskwatch.FieldComm, doc: "the name that the kernel has for the task",
			get: text(func(it *item) string { return it.task.Comm })},
		field{name: "exe", typ: cel.StringType, bit: taskwatch.FieldExe, doc: "the path of the program",
			get: text(func(it *item) string { return it.task.Exe })},
		field{name: "args", typ: cel.StringType, bit: taskwatch.FieldArgv, doc: "the arguments as one string",
			get: func(o *object) ref.Val {
				if o.item.task.ArgvCut {
					return unknownArgv
				}
				return types.String(strings.Join(o.item.task.Argv, " "))
			}},
		field{name: "cwd", typ: cel.StringType, bit: taskwatch.FieldCwd, doc: "the working directory",
			get: text(func(it *item) string { return it.task.Cwd })},
		field{name: "cgroup", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "the path of the cgroup",
			get: text(func(it *item) string { return it.task.Cgroup })},
		field{name: "container", typ: containerClass.typ, bit: 0, doc: "the container that the task is in",
			get: func(o *object) ref.Val { return &o.item.container }},
		field{name: "unit", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "the systemd unit, outside of containers",
			get: text(func(it *item) string { return it.place().Unit })},
		field{name: "slice", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "the systemd slice, likewise",
			get: text(func(it *item) string { return it.place().Slice })},
		field{name: "old_exe", typ: cel.StringType, bit: taskwatch.FieldOldExe, doc: "the program that an exec replaced",
			get: text(func(it *item) string { return it.ev.OldExe })},
		field{name: "cause", typ: cel.StringType, bit: taskwatch.FieldCause, doc: "the change is by syscall, exec or setgroups",
			get: text(func(it *item) string { return it.ev.Cause.String() })},
		field{name: "argv", typ: cel.ListType(cel.StringType), bit: taskwatch.FieldArgv, doc: "the arguments",
			get: func(o *object) ref.Val { return argvOf(o.item.task.Argv, o.item.task.ArgvCut) }},
		field{name: "argv_cut", typ: cel.BoolType, bit: taskwatch.FieldArgv, doc: "argv is not complete",
			get: boolean(func(it *item) bool { return it.task.ArgvCut })},
		field{name: "uid", typ: cel.IntType, bit: taskwatch.FieldUID, doc: "the real user",
			get: number(func(it *item) int64 { return int64(it.task.UID[taskwatch.RealID]) })},
		field{name: "euid", typ: cel.IntType, bit: taskwatch.FieldUID, doc: "the effective user",
			get: number(func(it *item) int64 { return int64(it.task.UID[taskwatch.EffectiveID]) })},
		field{name: "suid", typ: cel.IntType, bit: taskwatch.FieldUID, doc: "the saved user",
			get: number(func(it *item) int64 { return int64(it.task.UID[taskwatch.SavedID]) })},
		field{name: "fsuid", typ: cel.IntType, bit: taskwatch.FieldUID, doc: "the user for files",
			get: number(func(it *item) int64 { return int64(it.task.UID[taskwatch.FSID]) })},
		field{name: "uids", typ: cel.ListType(cel.IntType), bit: taskwatch.FieldUID, doc: "all four",
			get: func(o *object) ref.Val { return ids(o.item.task.UID) }},
		field{name: "user", typ: cel.StringType, bit: taskwatch.FieldUID, doc: "the real user's name, or number",
			get: user(func(it *item) uint32 { return it.task.UID[taskwatch.RealID] })},
		field{name: "euser", typ: cel.StringType, bit: taskwatch.FieldUID, doc: "the name of the effective user",
			get: user(func(it *item) uint32 { return it.task.UID[taskwatch.EffectiveID] })},
		field{name: "gid", typ: cel.IntType, bit: taskwatch.FieldGID, doc: "the real group",
			get: number(func(it *item) int64 { return int64(it.task.GID[taskwatch.RealID]) })},
		field{name: "egid", typ: cel.IntType, bit: taskwatch.FieldGID, doc: "the effective group",
			get: number(func(it *item) int64 { return int64(it.task.GID[taskwatch.EffectiveID]) })},
		field{name: "sgid", typ: cel.IntType, bit: taskwatch.FieldGID, doc: "the saved group",
			get: number(func(it *item) int64 { return int64(it.task.GID[taskwatch.SavedID]) })},
		field{name: "fsgid", typ: cel.IntType, bit: taskwatch.FieldGID, doc: "the group for files",
			get: number(func(it *item) int64 { return int64(it.task.GID[taskwatch.FSID]) })},
		field{name: "gids", typ: cel.ListType(cel.IntType), bit: taskwatch.FieldGID, doc: "all four",
			get: func(o *object) ref.Val { return ids(o.item.task.GID) }},
		field{name: "group", typ: cel.StringType, bit: taskwatch.FieldGID, doc: "the real group's name, or number",
			get: group(func(it *item) uint32 { return it.task.GID[taskwatch.RealID] })},
		field{name: "egroup", typ: cel.StringType, bit: taskwatch.FieldGID, doc: "the name of the effective group",
			get: group(func(it *item) uint32 { return it.task.GID[taskwatch.EffectiveID] })},
		field{name: "old", typ: cel.ListType(cel.IntType), bit: taskwatch.FieldOld, doc: "the ids before a uid or gid event",
			get: func(o *object) ref.Val { return ids(o.item.ev.OldIDs) }},
		field{name: "lifetime_ns", typ: cel.IntType, bit: taskwatch.FieldLifetime, doc: "from the start of the task to its free",
			get: number(func(it *item) int64 { return int64(it.ev.LifetimeNS) })},
		field{name: "lifetime", typ: cel.DurationType, bit: taskwatch.FieldLifetime, doc: "the same",
			get: duration(func(it *item) int64 { return it.ev.LifetimeNS })},
		field{name: "inferred", typ: cel.BoolType, bit: taskwatch.FieldLifetime, doc: "the kernel did not report the free",
			get: boolean(func(it *item) bool { return it.ev.Inferred })},
		field{name: "exit", typ: exitClass.typ, bit: 0, doc: "exit.code, exit.signal, exit.core, exit.group",
			get: func(o *object) ref.Val { return &o.item.exit }},
		field{name: "rusage", typ: rusageClass.typ, bit: 0, doc: "what the task used",
			get: func(o *object) ref.Val { return &o.item.rusage }},
		field{name: "process", typ: selfClass.typ, bit: 0, tree: true, doc: "for tree(PID)",
			get: func(o *object) ref.Val { return &o.item.self }},
		field{name: "parent", typ: processClass.typ, bit: 0, tree: true, doc: "the process that made this one",
			get: parentOf},
		field{name: "ancestors", typ: cel.ListType(processClass.typ), bit: 0, tree: true, doc: "the parent, its parent, and so on",
			get: ancestorsOf},
	)
	addOptional(eventClass)
	for _, c := range []*class{eventClass, exitClass, rusageClass, selfClass, containerClass, processClass} {
		classes[c.name] = c
	}
}

// commandText returns a string of a process's command. An empty one is unknown.
func commandText(name string, get func(*process.Command) string) func(*object) ref.Val {
	unknown := types.NewUnknown(1, types.NewAttributeTrail(name))
	return func(o *object) ref.Val {
		if s := get(&o.proc.Program().Command); s != "" {
			return types.String(s)
		}
		return unknown
	}
}

var unknownArgv = types.NewUnknown(1, types.NewAttributeTrail("argv"))

func commandArgv(o *object) ref.Val {
	if c := &o.proc.Program().Command; c.Argv != nil {
		return argvOf(c.Argv, c.Cut)
	}
	return unknownArgv
}

// argvOf returns arguments; those that were cut off are unknown.
func argvOf(argv []string, isCut bool) ref.Val {
	if isCut {
		return cut(argv, unknownArgv)
	}
	return types.NewStringList(types.DefaultTypeAdapter, argv)
}
