// Package bpf is the source that watches the whole machine, one cgroup or one
// process tree with eBPF programs.
//
// The programs (c/stream.bpf.c) are a built-in of the table of module/kernel,
// so modules in the kernel and this source's events share hooks and order:
// [Source.Table] registers modules, whose failures and records are items like
// the events.
//
// The stream puts one record per event into one ring buffer. This keeps the
// causal order, because the record of a clone is reserved before the child can
// run. The source decodes the records in place and joins them with what it knows of
// all tasks, which adds facts that the kernel does not have at hand, such as
// the argv of a task that exits.
//
// The source needs CAP_BPF and CAP_PERFMON (or root), the initial pid
// namespace, and Linux 6.1 or newer with BTF (CONFIG_DEBUG_INFO_BTF).
//
// # What is attached
//
// While any event is watched, the hooks of clone, exec and exit are attached:
// they show which tasks there are. The hooks of init, uid, gid and free are
// attached only while these kinds are watched. (Where init comes so early that
// the fork may still fail, free is attached with it.) The source notices within
// half a second that a module has come or gone.
//
// Changes of ids are seen by fentry on commit_creds, which sees all of them;
// otherwise by the tracepoints of the system calls in question, which miss
// those of 32-bit programs; and by comparison at exec. (A setgroups changes no
// id that could be compared.) If neither can be attached, and for a command, a
// program at the exit of all system calls sees them.
//
// # Narrowing
//
// With [Config.Narrow], a task comes into scope at its first event whose record
// has what a sink wants ([taskwatch.Only]), and is followed to its end. It is
// described then from the kernel: its program, arguments and directory. These are
// missing if it came into scope in the middle of an exec or at its exit. Who made
// it is known only if that task is in scope too. The hooks of uid are attached
// while tasks are chosen by user id. When sinks come or go that want other tasks,
// the scope follows; a task that has left it gets another id if it comes back.
//
// # Commands
//
// When this process ends, however it ends, the command dies. Since Linux 6.16
// all of its descendants die too; before, only the command itself dies, unless
// it has changed its ids or capabilities by then.
//
// # Frees
//
// Some kernels do not report every free. If a task has exited and is gone, and
// no free was reported for half a second, the source delivers a free marked
// [taskwatch.Event.Inferred]. A task that was replaced in an exec gets its free
// before its replacement exits.
//
// # Losses
//
// When the buffer is full, events are lost. The source reports the loss before
// the next event, and brings the tasks up to date with the kernel's
// task iterator; a task whose exit was lost gets an inferred free.
//
// A task of a tree, a cgroup or a choice has a mark in its storage, or, where the
// kernel can make none at that moment, in a table with room for 1,024 tasks. If that
// is full, the source reports a loss of unknown size: the task's later events may be
// missing.
//
// Without LSM programs, a kernel with full preemption passes by the hooks of init, uid,
// gid and free while another task is preempted inside ([kernel.Missed]). A free is
// inferred. The rest is reported as lost. In a tree and in a cgroup, an init that was
// missed is known by its clone, or by its free if the fork has failed; if the kernel has
// passed by both, nothing tells of it. Whether a change of ids that was missed was in the
// scope is not known: that is a loss of unknown size.
//
// # Known limits
//
// CPU time at exit is what the scheduler had accounted by then, up to a clock
// tick less than wait4 reports afterwards. Cwd is read only at kinds for which
// somebody reads it, and is missing at others. The argv of an exec that a
// module denies is read from the caller's memory: up to about 20 KB. On a
// kernel that rejects fentry programs, an id that a 32-bit program has changed
// shows up late, at the task's next exec.
//
// Before Linux 6.2, a kernel with full preemption does not find the storage of a
// task while another one is preempted in the middle of looking up its own on the
// same processor. The marks of a tree's tasks are then read from the kernel's list;
// what a task was permitted before an exec is not, so that caps.gained may be
// missing.
//
// # Time and wake-ups
//
// Waking a reader costs the task that causes an event many times what the
// event itself costs. So a burst of events wakes the reader once, and then it
// looks every [Config.Latency]; it sleeps without a timer when there was
// nothing to see.
package bpf
