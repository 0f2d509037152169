/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A value for each process of one group, which its threads share. */
#include "task_watchers.h"

module_param(gid, __u32, ~0u);

struct process {
	__u32 generation;
	__u32 execs, threads;
};
process_storage(processes, struct process);

__u64 begun, kept, lost, inherited, execs, threads, shared, freed;
MODULE_GLOBAL(begun);
MODULE_GLOBAL(kept);
MODULE_GLOBAL(lost);
MODULE_GLOBAL(inherited);
MODULE_GLOBAL(execs);
MODULE_GLOBAL(threads);
MODULE_GLOBAL(shared);
MODULE_GLOBAL(freed);

static int begin(unsigned long val, struct task_struct *tsk)
{
	struct process *p = task_gid(tsk) == gid ? processes_create(tsk) : 0;

	if (!p)
		return 0;
	if (!p->execs++ && !p->generation)
		__sync_fetch_and_add(&begun, 1);
	return 0;
}
task_watcher_func(exec, begin);

static int inherit(unsigned long flags, struct task_struct *tsk)
{
	struct process *p = task_gid(tsk) == gid ? processes_inherit(tsk) : 0;

	if (!p)
		return 0;
	__sync_fetch_and_add(&inherited, 1);
	if (!task_is_leader(tsk)) {
		p->threads++;
		return 0;
	}
	p->generation++;
	p->execs = 0;
	p->threads = 0;
	return 0;
}
task_watcher_func(clone, inherit);

static int look(unsigned long val, struct task_struct *tsk)
{
	if (task_gid(tsk) == gid)
		__sync_fetch_and_add(processes_get(tsk) ? &kept : &lost, 1);
	return 0;
}
task_watcher_func(uid, look);

static int sum(unsigned long code, struct task_struct *tsk)
{
	struct process *p = task_gid(tsk) == gid ? processes_get(tsk) : 0;

	if (!p)
		return 0;
	__sync_fetch_and_add(&execs, p->execs);
	__sync_fetch_and_add(&threads, p->threads);
	__sync_fetch_and_add(&shared, 1);
	return 0;
}
task_watcher_func(exit, sum);

static int last(unsigned long code, struct task_struct *tsk)
{
	if (task_gid(tsk) == gid && !processes_get(tsk))
		__sync_fetch_and_add(&freed, 1);
	return 0;
}
task_watcher_func(free, last);

MODULE_LICENSE("GPL");
