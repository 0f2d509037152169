/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* joblabel: what a job costs. `taskwatch map joblabel labels set PID 7` labels a
 * task; what it starts has the label, too. */
#include "task_watchers.h"

task_storage(labels, __u32);

struct job {
	__u64 tasks, cpu_ns; /* of those that are gone */
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct job);
} jobs SEC(".maps");

static int inherit(unsigned long flags, struct task_struct *tsk)
{
	labels_inherit(tsk);
	return 0;
}
task_watcher_func(init, inherit);

static int add(unsigned long code, struct task_struct *tsk)
{
	__u32 *found = labels_get(tsk), label;
	struct job none = {}, *j;

	if (!found)
		return 0;
	label = *found;
	bpf_map_update_elem(&jobs, &label, &none, BPF_NOEXIST);
	j = bpf_map_lookup_elem(&jobs, &label);
	if (j) {
		__sync_fetch_and_add(&j->tasks, 1);
		__sync_fetch_and_add(&j->cpu_ns, task_cpu_ns(tsk));
	}
	return 0;
}
task_watcher_func(exit, add);

MODULE_DESCRIPTION("tasks and CPU time by a label that descendants inherit");
MODULE_LICENSE("GPL");
