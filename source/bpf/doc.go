// Package bpf is the source that watches the whole machine, one cgroup or one
// process tree with eBPF programs on the kernel's tracepoints.
//
// The programs (c/stream.bpf.c) put one record per event into one ring buffer,
// which keeps causal order by itself: the record of a clone is reserved before
// the child can run. Here the records are decoded in place and joined with a
// table of all tasks, which gives each event the facts that the kernel does
// not have at hand, such as the argv of a task that exits.
//
// The source needs CAP_BPF and CAP_PERFMON (or root), the initial pid
// namespace, and Linux 6.1 or newer with BTF (CONFIG_DEBUG_INFO_BTF).
//
// # What is attached
//
// While anybody watches anything, the tracepoints of clone, exec and exit are:
// without them there is no table. Those of uid and gid (the exit of system
// calls) and of free are attached only while somebody watches these kinds;
// init shares the tracepoint of clone.
//
// # Time and wake-ups
//
// Waking a reader costs the task that causes an event many times what the
// event itself costs. So a burst of events wakes the reader once, and then it
// looks every [Config.Latency]; it sleeps without a timer when there was
// nothing to see.
package bpf
