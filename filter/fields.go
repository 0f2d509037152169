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

// The classes, as far as they are not made of the table of fields. Ids are numbers,
// with a list of all four beside them; times in nanoseconds are numbers, with CEL's
// own types beside them.
var (
	eventClass *class // set by init, since it has itself as a field

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

	parts = []*class{selfClass, containerClass}

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
	)
	addTable(eventClass, taskwatch.AllFields&^taskwatch.OptionalFields)
	eventClass.add(
		field{name: "start", typ: cel.DurationType, bit: taskwatch.FieldStart, doc: "start_ns as a duration: since boot",
			get: duration(func(it *item) int64 { return it.task.StartNS })},
		field{name: "id", typ: cel.StringType, bit: 0, doc: "the task, unlike any other",
			get: text(func(it *item) string { return it.task.ID.String() })},
		field{name: "args", typ: cel.StringType, bit: taskwatch.FieldArgv, doc: "the arguments as one string",
			get: func(o *object) ref.Val {
				if o.item.task.ArgvCut {
					return unknownArgv
				}
				return types.String(strings.Join(o.item.task.Argv, " "))
			}},
		field{name: "container", typ: containerClass.typ, bit: 0, doc: "the container that the task is in",
			get: func(o *object) ref.Val { return &o.item.container }},
		field{name: "unit", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "the systemd unit, outside of containers",
			get: text(func(it *item) string { return it.place().Unit })},
		field{name: "slice", typ: cel.StringType, bit: taskwatch.FieldCgroup, doc: "the systemd slice, likewise",
			get: text(func(it *item) string { return it.place().Slice })},
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
		field{name: "group", typ: cel.StringType, bit: taskwatch.FieldGID, doc: "the real group's name, or number",
			get: group(func(it *item) uint32 { return it.task.GID[taskwatch.RealID] })},
		field{name: "egroup", typ: cel.StringType, bit: taskwatch.FieldGID, doc: "the name of the effective group",
			get: group(func(it *item) uint32 { return it.task.GID[taskwatch.EffectiveID] })},
		field{name: "lifetime", typ: cel.DurationType, bit: taskwatch.FieldLifetime, doc: "lifetime_ns as a duration",
			get: duration(func(it *item) int64 { return it.ev.LifetimeNS })},
		field{name: "inferred", typ: cel.BoolType, bit: taskwatch.FieldLifetime, doc: "the kernel did not report the free",
			get: boolean(func(it *item) bool { return it.ev.Inferred })},
		field{name: "process", typ: selfClass.typ, bit: 0, tree: true, doc: "for tree(PID)",
			get: func(o *object) ref.Val { return &o.item.self }},
		field{name: "parent", typ: processClass.typ, bit: 0, tree: true, doc: "the process that made this one",
			get: parentOf},
		field{name: "ancestors", typ: cel.ListType(processClass.typ), bit: 0, tree: true, doc: "the parent, its parent, and so on",
			get: ancestorsOf},
	)
	addTable(eventClass, taskwatch.OptionalFields)
	classes["taskwatch.Rusage"].add(
		field{name: "utime", typ: cel.DurationType, bit: taskwatch.FieldUTime, doc: "utime_ns as a duration",
			get: duration(func(it *item) int64 { return it.ev.Rusage.UTimeNS })},
		field{name: "stime", typ: cel.DurationType, bit: taskwatch.FieldSTime, doc: "stime_ns as a duration",
			get: duration(func(it *item) int64 { return it.ev.Rusage.STimeNS })},
	)
	for _, c := range []*class{eventClass, selfClass, containerClass, processClass} {
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
