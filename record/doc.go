// Package record reads and writes recordings: JSON lines, one object per line.
// A [Reader] reads back everything that a [Writer] has written.
//
// # Lines
//
// "event" says which kind of line it is: the seven kinds of [taskwatch.Kind],
// "lost" for a [taskwatch.Loss], "error" for a [taskwatch.Failure], "emit" for
// a [taskwatch.Record], "exec-failed" for a [taskwatch.FailedExec], "start" for
// a [taskwatch.Start] and "end". Broken here for reading:
//
//	{"event":"start","format":2,"time":"2026-11-23T16:30:49.1Z","mono_ns":5411600000,"host":"build1",
//	 "machine_id":"0b2f...","boot_id":"7d0c...","kernel":"Linux 6.12.57 #1 SMP x86_64","timezone":"Europe/Berlin",
//	 "source":"bpf","scope":"the command and its descendants","command":["make","-j8"],
//	 "events":{"exec":{"delivered":true,"missing":["cgroup"],"may_miss":["exe"],"hook":"..."}, ... }}
//	{"event":"exec","val":0,"seq":812,"time":"2026-11-23T16:30:49.123456789Z","mono_ns":5411692016,
//	 "source":"bpf","task":{"id":"2k7f-a1","parent_id":"2k7f-9a","pid":161,"tid":161,"ppid":154,
//	 "start_ns":5411600000,"comm":"true",
//	 "exe":"/usr/bin/true","argv":["true"],"cwd":"/srv","uid":[0,0,0,0],"gid":[0,0,0,0],
//	 "cgroup":"/user.slice"},"old_exe":"/usr/bin/bash"}
//	{"event":"uid", ... ,"old":{"uid":[0,0,0,0]},"cause":"syscall"}
//	{"event":"exit","val":256, ... ,"exit":{"code":1,"signal":0,"core":false,"group":true},
//	 "rusage":{"utime_ns":0,"stime_ns":812000,"maxrss_bytes":1372160,"minflt":80,"majflt":0,
//	 "nvcsw":1,"nivcsw":0,"read_bytes":0,"write_bytes":0}}
//	{"event":"free", ... ,"lifetime_ns":92016000,"inferred":true}
//	{"event":"lost","count":17,"seq":900}
//	{"event":"error","on":"exec","module":"guard","watcher":"main.deny","errno":1,"errno_name":"EPERM",
//	 "message":"operation not permitted","veto":true, ... }
//	{"event":"emit","module":"sample","data":"2a00000001000000", ... ,"task":{ ... }}
//	{"event":"emit","module":"rule","json":{"path":"/tmp/x"}, ... ,"task":{ ... }}
//	{"event":"exec-failed","optional":true,"errno":2,"errno_name":"ENOENT","path":"/usr/local/bin/make",
//	 "argv":["make"], ... ,"task":{ ... }}
//	{"event":"exec-failed","optional":true,"errno":13,"errno_name":"EACCES","path":"tool","fd":7, ... }
//	{"event":"end","optional":true}
//
// A start line comes first. It says what was recorded, where and by what source.
// If the file holds several runs, each begins with a start; ids of tasks are
// unique only within a run. An end line says that the run before it is complete;
// a run without one has stopped early: see [Reader.EarlyEnds].
//
// Fields stand in this order. An absent field is unknown. "missing" stands at
// the end of a line and names those fields that belong to the event and that
// the source could not give; an init event has no pid, tid and start_ns to
// miss, because the task has none yet. "parent_id" is "" where the parent is a
// task that the source never saw. "argv_cut":true marks an argv that is not
// complete and "inferred":true a free that the kernel never reported; both are
// absent otherwise. Times are RFC 3339 in UTC with nanoseconds. uid and
// gid are [real, effective, saved, fs]. A "count" is absent from a lost line
// whose source knows only that something was lost.
//
// An error line says which event failed ("on") and then holds all fields of
// that event. So for a denied exec it has the program that was denied
// (task.exe, task.argv), and for a denied change of ids the requested ids
// (task.uid) and those still in force (old.uid). "veto":true says that the
// operation was denied, "dry_run":true that it would have been denied without
// the dry run, "panic":true that the watcher crashed. Errors without an error
// number that deny nothing have no errno. A watcher in the kernel denies an
// exec of the file that was named, so task.exe may be a script.
//
// An emit line holds what a module has sent: as "json" if it is a JSON object
// or array, otherwise as "data" in hexadecimal, whose meaning only the module
// knows. The task is the one in whose context it was sent; "seq", if present,
// is the event at which it was sent.
//
// # Strings
//
// Linux strings are bytes, JSON strings are Unicode. A byte 0xNN that is not
// part of valid UTF-8 is written as the escape \uefNN, a character of the
// private use area; a genuine character U+EF80 to U+EFFF is written as its
// three bytes in the same way. Reading turns \uefNN back into the byte, so
// every string of bytes survives, and every JSON parser accepts the file,
// which it would not if lone surrogates stood in it. Control characters and
// the line separators U+2028 and U+2029 are escaped as well: a recording can
// be shown on a terminal.
//
// # Compatibility
//
// Fields that a Reader does not know are ignored: they come from a newer
// recorder, and the known fields stay true without them. An unknown kind of line
// is an error, because skipping it would lose an event silently; if it has
// "optional":true, it is skipped, whatever else it holds.
//
// Older recordings, which have no start line, are of format 1 and are still
// read. A start of a format above [Format] is an error.
//
// Only a line that was cut off, and that a start follows, is left out, with a
// loss in its place. Any other line that cannot be used is an error.
package record
