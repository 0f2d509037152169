// Package bpf is the source that watches the whole machine, one cgroup or one
// process tree with eBPF programs.
//
// The programs (c/stream.bpf.c) are a built-in of the table of module/kernel,
// so that modules in the kernel and the events here share hooks and order:
// [Source.Table] registers modules, whose failures and records are items like
// the events.
//
// The stream puts one record per event into one ring buffer, which keeps
// causal order by itself: the record of a clone is reserved before the child
// can run. Here the records are decoded in place and joined with a table of
// all tasks, which gives each event the facts that the kernel does not have
// at hand, such as the argv of a task that exits.
//
// The source needs CAP_BPF and CAP_PERFMON (or root), the initial pid
// namespace, and Linux 6.1 or newer with BTF (CONFIG_DEBUG_INFO_BTF).
//
// # What is attached
//
// While anybody watches anything, the hooks of clone, exec and exit are:
// without them there is no table of tasks. Those of init, uid, gid and free
// are attached only while somebody watches these kinds. (Where init comes so
// early that the fork may still fail, it brings free along.) A module that
// comes or goes is noticed within half a second.
//
// Changes of ids are told by the table: by fentry on commit_creds, which sees
// all of them, else by the tracepoints of the system calls in question, which
// do not see those of 32-bit programs; and by comparison at exec. Where there
// is neither, and for a command, a program on the exit of all system calls
// does it.
//
// # Commands
//
// A command dies with this process, however that ends, and so do its
// descendants: since Linux 6.16 all of them, before only the command itself,
// unless it has changed its ids or capabilities by then.
//
// # Frees
//
// Some kernels do not tell every free. A task that has exited and is gone, but
// was not told to be freed for half a second, gets a free marked
// [taskwatch.Event.Inferred]. One of a process's tasks that was replaced in an
// exec gets it before its replacement exits.
//
// # Losses
//
// When the buffer is full, events are lost. The loss is told before the first
// event behind it, and the table of tasks is brought up to date with the
// kernel's task iterator; a task whose exit was lost gets an inferred free.
//
// # Known limits
//
// CPU time at exit is what the scheduler had accounted by then, up to a clock
// tick less than wait4 reports afterwards. Cwd is that at the last exec: no
// event tells of chdir. The argv of an exec that a module refuses is read where
// the caller keeps it: up to about 20 KB of it, and nothing of a 32-bit
// program's. An id that a 32-bit program has changed shows up late, at the
// task's next exec, where fentry programs are refused.
//
// # Time and wake-ups
//
// Waking a reader costs the task that causes an event many times what the
// event itself costs. So a burst of events wakes the reader once, and then it
// looks every [Config.Latency]; it sleeps without a timer when there was
// nothing to see.
package bpf
