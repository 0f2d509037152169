/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether each task of a session meets attach or clone, and what is kept of it. */
#include "task_watchers.h"

module_param(session, int, 0);

__u64 attaches, met; /* of the session; met counts a task once */
__u64 exits;         /* of tasks that have met one of them */
__u64 full;

/* When tasks exited that have met nothing, on CLOCK_MONOTONIC. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, __u64);
} unknown SEC(".maps");

struct life {
	__u32 generation;
};
task_table(lives, struct life, 65536);

MODULE_ATTACH_AT_LEAST_ONCE;

static __always_inline void meet(struct task_struct *tsk)
{
	if (lives_get(tsk))
		return;
	__sync_fetch_and_add(lives_create(tsk) ? &met : &full, 1);
}

static int existed(unsigned long zero, struct task_struct *tsk)
{
	if (task_sid(tsk) != session)
		return 0;
	__sync_fetch_and_add(&attaches, 1);
	meet(tsk);
	return 0;
}
task_watcher_func(attach, existed);

static int born(unsigned long flags, struct task_struct *tsk)
{
	struct life *l;

	if (task_sid(tsk) != session)
		return 0;
	if (!lives_get(tsk) && lives_inherit(tsk))
		__sync_fetch_and_add(&met, 1);
	meet(tsk); /* its maker had no value */
	l = lives_get(tsk);
	if (l)
		l->generation++;
	return 0;
}
task_watcher_func(clone, born);

static int exited(unsigned long code, struct task_struct *tsk)
{
	__u64 now = bpf_ktime_get_ns();

	if (task_sid(tsk) != session)
		return 0;
	if (lives_get(tsk))
		__sync_fetch_and_add(&exits, 1);
	else
		bpf_map_update_elem(&unknown, &now, &now, BPF_ANY);
	lives_delete(tsk);
	return 0;
}
task_watcher_func(exit, exited);

MODULE_LICENSE("GPL");
