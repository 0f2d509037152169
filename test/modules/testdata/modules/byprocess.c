/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A value for each process of one group, which its first task has. */
#include "task_watchers.h"

module_param(gid, __u32, ~0u);

struct process {
	__u32 execs;
};
task_storage(processes, struct process);

__u64 begun, kept, lost;

static int begin(unsigned long val, struct task_struct *tsk)
{
	struct process *p = task_gid(tsk) == gid ? processes_create(tsk->group_leader) : 0;

	if (p && !p->execs++)
		__sync_fetch_and_add(&begun, 1);
	return 0;
}
task_watcher_func(exec, begin);

static int look(unsigned long val, struct task_struct *tsk)
{
	if (task_gid(tsk) == gid)
		__sync_fetch_and_add(processes_get(tsk->group_leader) ? &kept : &lost, 1);
	return 0;
}
task_watcher_func(uid, look);

MODULE_LICENSE("GPL");
