// Package schema is the table of the fields of an event. From it are generated
// what names, reads, writes, sends and documents them: in package taskwatch,
// in record, in internal/wire, in source/bpf, for modules in C and Go, and
// docs/fields.md. To add a field is to add a line here, to gather it in the
// sources that can, and to run 'go generate ./internal/schema'.
package schema

//go:generate go run ./gen

// Type is what a field's value is.
type Type string

// The types.
const (
	Int     Type = "int"     // JSON takes 32 bits
	Int64   Type = "int64"   //
	Uint32  Type = "uint32"  //
	Uint64  Type = "uint64"  //
	Mask    Type = "mask"    // 64 bits, in JSON 16 hexadecimal digits as a string
	String  Type = "string"  //
	Bool    Type = "bool"    //
	Strings Type = "strings" // a list, with a mark if it is not complete
	Uint32s Type = "uint32s" // a list
	IDs     Type = "ids"     // real, effective, saved, file system
	TaskID  Type = "task id" //
	Cause   Type = "cause"   // of a change of ids
)

// Field is one field of an event. Its place in the table is its bit.
type Field struct {
	Name  string // in "missing", in filters and columns; what stands before a dot is a group
	Const string // of the constant FieldXxx
	Go    string // how an Event holds it: "Task.PID"; for an optional field its name in Extra
	Type  Type
	Kinds string // of events that have it
	Unit  string // "", "ns" or "bytes"

	// Optional fields are gathered, and missing, only where asked for.
	Optional bool

	// Gather is the group of the bpf source that brings it: "" is in every
	// record.
	Gather string

	// Record is the generation of the record of the sandbox whose end it was
	// added to.
	Record int

	Doc    string // fits into a line of the help
	Detail string // follows Doc where there is room
	Cost   string // of an optional one
}

// The kinds that share fields.
const (
	all    = "init,clone,exec,uid,gid,exit,free"
	placed = "clone,exec,uid,gid,exit,free" // the task has a place in the kernel's tables
	alive  = "clone,exec,uid,gid,exit"      // it can still be asked
	ids    = "uid,gid"
)

// Table holds all fields. A line's place never changes: new ones come last.
var Table = []Field{
	{Name: "val", Const: "Val", Go: "Val", Type: Uint64, Kinds: all, Doc: "clone flags, or wait status", Detail: ": flags at init and clone, the status at exit and free, else 0"},
	{Name: "parent_id", Const: "ParentID", Go: "Task.ParentID", Type: TaskID, Kinds: all, Doc: "id of the task that created it"},
	{Name: "pid", Const: "PID", Go: "Task.PID", Type: Int, Kinds: placed, Doc: "process id (thread group id)"},
	{Name: "tid", Const: "TID", Go: "Task.TID", Type: Int, Kinds: placed, Doc: "the task's own id"},
	{Name: "ppid", Const: "PPID", Go: "Task.PPID", Type: Int, Kinds: all, Doc: "process id of the real parent"},
	{Name: "start_ns", Const: "Start", Go: "Task.StartNS", Type: Int64, Unit: "ns", Kinds: placed, Doc: "when the task started, on CLOCK_BOOTTIME"},
	{Name: "comm", Const: "Comm", Go: "Task.Comm", Type: String, Kinds: all, Doc: "the kernel's name for the task", Detail: ", at most 15 bytes"},
	{Name: "exe", Const: "Exe", Go: "Task.Exe", Type: String, Kinds: all, Gather: "exe", Doc: "path of the program, in the task's own root"},
	{Name: "argv", Const: "Argv", Go: "Task.Argv", Type: Strings, Kinds: all, Gather: "argv", Doc: "its arguments"},
	{Name: "cwd", Const: "Cwd", Go: "Task.Cwd", Type: String, Kinds: all, Gather: "cwd", Doc: "working directory"},
	{Name: "uid", Const: "UID", Go: "Task.UID", Type: IDs, Kinds: all, Doc: "user ids: real, effective, saved", Detail: ", file system"},
	{Name: "gid", Const: "GID", Go: "Task.GID", Type: IDs, Kinds: all, Doc: "group ids, as uid"},
	{Name: "cgroup", Const: "Cgroup", Go: "Task.Cgroup", Type: String, Kinds: all, Gather: "cgroup", Doc: "path of the cgroup", Detail: " in the unified hierarchy, or in the one that the manager uses (cgroup v1)"},
	{Name: "old_exe", Const: "OldExe", Go: "OldExe", Type: String, Kinds: "exec", Gather: "exe", Doc: "the program that was replaced"},
	{Name: "old", Const: "Old", Go: "OldIDs", Type: IDs, Kinds: ids, Doc: "the ids before"},
	{Name: "cause", Const: "Cause", Go: "Cause", Type: Cause, Kinds: ids, Doc: "what changed them: syscall, exec, setgroups", Detail: " (only the supplementary groups), or unknown"},
	{Name: "exit.code", Const: "ExitCode", Go: "Exit.Code", Type: Int, Kinds: "exit", Doc: "what the task passed to exit", Detail: ", 0 when a signal killed it"},
	{Name: "exit.signal", Const: "ExitSignal", Go: "Exit.Signal", Type: Int, Kinds: "exit", Doc: "the signal that killed it, or 0"},
	{Name: "exit.core", Const: "ExitCore", Go: "Exit.Core", Type: Bool, Kinds: "exit", Doc: "a core dump was written"},
	{Name: "exit.group", Const: "ExitGroup", Go: "Exit.Group", Type: Bool, Kinds: "exit", Doc: "the whole process ends"},
	{Name: "rusage.utime_ns", Const: "UTime", Go: "Rusage.UTimeNS", Type: Int64, Unit: "ns", Kinds: "exit", Gather: "usage", Doc: "user CPU time of the task"},
	{Name: "rusage.stime_ns", Const: "STime", Go: "Rusage.STimeNS", Type: Int64, Unit: "ns", Kinds: "exit", Gather: "usage", Doc: "system CPU time of the task"},
	{Name: "rusage.maxrss_bytes", Const: "MaxRSS", Go: "Rusage.MaxRSS", Type: Uint64, Unit: "bytes", Kinds: "exit", Gather: "usage", Doc: "peak memory of the process"},
	{Name: "rusage.minflt", Const: "MinFlt", Go: "Rusage.MinFlt", Type: Uint64, Kinds: "exit", Gather: "usage", Doc: "page faults without I/O"},
	{Name: "rusage.majflt", Const: "MajFlt", Go: "Rusage.MajFlt", Type: Uint64, Kinds: "exit", Gather: "usage", Doc: "page faults with I/O"},
	{Name: "rusage.nvcsw", Const: "NVCSw", Go: "Rusage.NVCSw", Type: Uint64, Kinds: "exit", Gather: "usage", Doc: "voluntary context switches"},
	{Name: "rusage.nivcsw", Const: "NIvCSw", Go: "Rusage.NIvCSw", Type: Uint64, Kinds: "exit", Gather: "usage", Doc: "involuntary context switches"},
	{Name: "rusage.read_bytes", Const: "ReadBytes", Go: "Rusage.ReadBytes", Type: Uint64, Unit: "bytes", Kinds: "exit", Gather: "usage", Doc: "read from storage"},
	{Name: "rusage.write_bytes", Const: "WriteBytes", Go: "Rusage.WriteBytes", Type: Uint64, Unit: "bytes", Kinds: "exit", Gather: "usage", Doc: "written to storage"},
	{Name: "lifetime_ns", Const: "Lifetime", Go: "LifetimeNS", Type: Int64, Unit: "ns", Kinds: "free", Doc: "from the task's start to its free"},

	{Name: "cgroup_id", Const: "CgroupID", Go: "CgroupID", Type: Uint64, Kinds: alive, Optional: true, Record: 2, Gather: "cgroup",
		Doc: "inode of the cgroup's directory", Cost: "nothing under bpf; under ptrace two files"},
	{Name: "auid", Const: "AUID", Go: "AUID", Type: Uint32, Kinds: alive, Optional: true, Record: 2, Gather: "extra",
		Doc: "user who logged in, or 4294967295", Cost: "bpf: a separate record; ptrace: a file"},
	{Name: "sessionid", Const: "SessionID", Go: "SessionID", Type: Uint32, Kinds: alive, Optional: true, Record: 2, Gather: "extra",
		Doc: "login session, or 4294967295", Cost: "as auid"},
	{Name: "tty", Const: "TTY", Go: "TTY", Type: String, Kinds: alive, Optional: true, Record: 2, Gather: "extra",
		Doc: "controlling terminal: pts/0; or empty", Cost: "as auid"},
	{Name: "caps.effective", Const: "CapsEffective", Go: "CapsEffective", Type: Mask, Kinds: "exec", Optional: true, Record: 2, Gather: "extra",
		Doc: "effective capabilities", Cost: "as auid; ptrace: one file for all of caps, groups and ns.vpid"},
	{Name: "caps.permitted", Const: "CapsPermitted", Go: "CapsPermitted", Type: Mask, Kinds: "exec", Optional: true, Record: 2, Gather: "extra",
		Doc: "permitted capabilities", Cost: "as caps.effective"},
	{Name: "caps.inheritable", Const: "CapsInheritable", Go: "CapsInheritable", Type: Mask, Kinds: "exec", Optional: true, Record: 2, Gather: "extra",
		Doc: "inheritable capabilities", Cost: "as caps.effective"},
	{Name: "caps.bounding", Const: "CapsBounding", Go: "CapsBounding", Type: Mask, Kinds: "exec", Optional: true, Record: 2, Gather: "extra",
		Doc: "bounding set", Cost: "as caps.effective"},
	{Name: "caps.ambient", Const: "CapsAmbient", Go: "CapsAmbient", Type: Mask, Kinds: "exec", Optional: true, Record: 2, Gather: "extra",
		Doc: "ambient capabilities", Cost: "as caps.effective"},
	{Name: "groups", Const: "Groups", Go: "Groups", Type: Uint32s, Kinds: "exec,gid", Optional: true, Record: 2, Gather: "extra",
		Doc: "supplementary groups", Cost: "as caps.effective"},
	{Name: "ns.vpid", Const: "VPID", Go: "VPID", Type: Int, Kinds: alive, Optional: true, Record: 2, Gather: "extra",
		Doc: "tid of the task in its own pid namespace", Cost: "as caps.effective"},
	{Name: "ns.mnt", Const: "NSMnt", Go: "NSMnt", Type: Uint32, Kinds: alive, Optional: true, Record: 2, Gather: "extra",
		Doc: "id of its mount namespace", Cost: "as auid; ptrace: a link"},
	{Name: "ns.pid", Const: "NSPID", Go: "NSPID", Type: Uint32, Kinds: alive, Optional: true, Record: 2, Gather: "extra",
		Doc: "id of its pid namespace", Cost: "as ns.mnt"},
	{Name: "ns.net", Const: "NSNet", Go: "NSNet", Type: Uint32, Kinds: alive, Optional: true, Record: 2, Gather: "extra",
		Doc: "id of its network namespace", Cost: "as ns.mnt"},
	{Name: "ns.user", Const: "NSUser", Go: "NSUser", Type: Uint32, Kinds: alive, Optional: true, Record: 2, Gather: "extra",
		Doc: "id of its user namespace", Cost: "as ns.mnt"},
	{Name: "exe_host", Const: "ExeHost", Go: "ExeHost", Type: String, Kinds: "exec", Optional: true, Record: 2, Gather: "host",
		Doc: "program's path, whatever the task's root", Cost: "bpf: a record of its size; ptrace: a link"},
	{Name: "exe_dev", Const: "ExeDev", Go: "ExeDev", Type: Uint64, Kinds: "exec", Optional: true, Record: 2, Gather: "extra",
		Doc: "device of the program's file", Cost: "as auid; ptrace: a system call"},
	{Name: "exe_ino", Const: "ExeIno", Go: "ExeIno", Type: Uint64, Kinds: "exec", Optional: true, Record: 2, Gather: "extra",
		Doc: "inode of the program's file", Cost: "as exe_dev"},
	{Name: "env", Const: "Env", Go: "Env", Type: Strings, Kinds: "exec", Optional: true, Record: 2, Gather: "env",
		Doc: "its environment at start: 64 KiB, bpf 16", Cost: "bpf: a record of its size; ptrace: a file; makes recordings large, and contains secrets: see --env, --env-redact"},
	{Name: "caps.secure", Const: "CapsSecure", Go: "CapsSecure", Type: Bool, Kinds: "exec", Optional: true, Record: 2, Gather: "extra",
		Doc: "AT_SECURE: more rights than its user has", Cost: "as auid; ptrace: a file"},
	{Name: "nice", Const: "Nice", Go: "Nice", Type: Int, Kinds: alive, Optional: true, Record: 3, Gather: "extra",
		Doc: "nice value, from -20 to 19", Cost: "as tty"},
	{Name: "caps.gained", Const: "CapsGained", Go: "CapsGained", Type: Mask, Kinds: "exec", Optional: true, Record: 4, Gather: "gained",
		Doc: "permitted since this exec, and not before", Cost: "as auid, and bpf: a program at each exec, before Linux 6.10 at each system call; ptrace: a stop and a file"},
	{Name: "before.utime_ns", Const: "BeforeUTime", Go: "BeforeUTimeNS", Type: Int64, Kinds: "exec", Unit: "ns", Optional: true, Record: 5,
		Doc: "user CPU time before this exec", Cost: "nothing under bpf; ptrace: two files"},
	{Name: "before.stime_ns", Const: "BeforeSTime", Go: "BeforeSTimeNS", Type: Int64, Kinds: "exec", Unit: "ns", Optional: true, Record: 5,
		Doc: "system CPU time before this exec", Cost: "as before.utime_ns"},
	{Name: "label", Const: "Label", Go: "Label", Type: String, Kinds: alive, Optional: true, Record: 5, Gather: "label",
		Doc: "label of its process, or empty", Cost: "bpf: as auid, and a look into a map; missing unless [the module](modules/label.md) is loaded"},
	{Name: "sid", Const: "SID", Go: "SID", Type: Int, Kinds: alive, Optional: true, Record: 6, Gather: "extra",
		Doc: "process id of the leader of its session", Cost: "as tty"},
	{Name: "before.maxrss_bytes", Const: "BeforeMaxRSS", Go: "BeforeMaxRSS", Type: Uint64, Kinds: "exec", Unit: "bytes", Optional: true, Record: 7,
		Doc: "peak memory of the process before this exec", Cost: "nothing under bpf; ptrace and connector do not have it"},
}

// Member is one member of the record of the sandbox. Each is aligned to its own
// size, so that C, Go and the byte-wise encoder agree without padding.
type Member struct {
	Name  string // in C; the names in Go are made of it
	Type  string // of C, without underscores
	Count int    // elements, 0 if it is no array
	Go    string // the expression that holds it, where t is the task; "" is written by hand
	Doc   string
}

// First is the record's first generation. What came later is made of the
// optional fields.
var First = []Member{
	{"size", "u32", 0, "", "bytes of this record"},
	{"abi", "u32", 0, "", "version of this layout"},
	{"event", "u32", 0, "", "WATCH_TASK_*"},
	{"flags", "u32", 0, "", "TASK_FLAG_*"},
	{"missing", "u64", 0, "", "TASK_FIELD_*: what is not there"},
	{"val", "u64", 0, "ev.Val", "in full, where unsigned long has 32 bits"},
	{"seq", "u64", 0, "ev.Seq", "number of the event in its run"},
	{"mono_ns", "s64", 0, "ev.MonoNS", "CLOCK_MONOTONIC"},
	{"time_ns", "s64", 0, "", "since 1970, or 0"},
	{"run", "u64", 0, "t.ID.Run", "the task's id: (run, n) is never used again"},
	{"n", "u64", 0, "t.ID.N", ""},
	{"parent_run", "u64", 0, "t.ParentID.Run", "the id of the task that created it, or 0"},
	{"parent_n", "u64", 0, "t.ParentID.N", ""},
	{"pid", "s32", 0, "t.PID", "of the process; 0 at init"},
	{"tid", "s32", 0, "t.TID", "of the task; 0 at init"},
	{"ppid", "s32", 0, "t.PPID", ""},
	{"argc", "u32", 0, "", "number of arguments"},
	{"start_ns", "s64", 0, "t.StartNS", "CLOCK_BOOTTIME; 0 at init"},
	{"uid", "u32", 4, "t.UID", "real, effective, saved, file system"},
	{"gid", "u32", 4, "t.GID", ""},
	{"old", "u32", 4, "ev.OldIDs", "uid and gid: the ids before"},
	{"cause", "u32", 0, "ev.Cause", "uid and gid: TASK_CAUSE_*"},
	{"exit_code", "s32", 0, "ev.Exit.Code", "exit only, as what follows"},
	{"exit_signal", "s32", 0, "ev.Exit.Signal", ""},
	{"reserved", "u32", 0, "", ""},
	{"utime_ns", "s64", 0, "ev.Rusage.UTimeNS", ""},
	{"stime_ns", "s64", 0, "ev.Rusage.STimeNS", ""},
	{"maxrss", "u64", 0, "ev.Rusage.MaxRSS", "bytes"},
	{"minflt", "u64", 0, "ev.Rusage.MinFlt", ""},
	{"majflt", "u64", 0, "ev.Rusage.MajFlt", ""},
	{"nvcsw", "u64", 0, "ev.Rusage.NVCSw", ""},
	{"nivcsw", "u64", 0, "ev.Rusage.NIvCSw", ""},
	{"read_bytes", "u64", 0, "ev.Rusage.ReadBytes", ""},
	{"write_bytes", "u64", 0, "ev.Rusage.WriteBytes", ""},
	{"lifetime_ns", "s64", 0, "ev.LifetimeNS", "free only"},
	{"comm", "char", 16, "", "ends with a NUL"},
}

// Flags are the bits of a record's flags, and where they come from.
var Flags = []struct{ Name, Go string }{
	{"final", "ev.Final"}, {"inferred", "ev.Inferred"}, {"argv_cut", "t.ArgvCut"},
	{"exit_group", "ev.Exit.Group"}, {"core", "ev.Exit.Core"}, {"late", "ev.Late"},
}

// Texts are the strings that modules ask for by number. The optional fields
// that are strings or lists follow.
var Texts = []string{"comm", "exe", "argv", "cwd", "cgroup", "old_exe"}

// ParentExe is a string that no event has: the program of the task's parent, as the
// host of a module has followed it. Its number is above those of all fields.
const (
	ParentExe     = "parent_exe"
	ParentExeText = 256
)
