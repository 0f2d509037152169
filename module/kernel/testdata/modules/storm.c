/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts forks, execs and exits, and notes when it runs while poisoned. */
#include "task_watchers.h"

module_param(pid, __u32, 0);

__u64 inits, clones, execs, exits;
__u64 ran, ran_poisoned;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} poison SEC(".maps");

static bool counts(struct task_struct *tsk)
{
	__u32 zero = 0, *poisoned = bpf_map_lookup_elem(&poison, &zero);

	__sync_fetch_and_add(&ran, 1);
	if (poisoned && *poisoned)
		__sync_fetch_and_add(&ran_poisoned, 1);
	return !pid || task_pid(tsk) == pid || task_ppid(tsk) == pid;
}

#define COUNTER(ev)                                                        \
	static int count_##ev(unsigned long val, struct task_struct *tsk) \
	{                                                                  \
		if (counts(tsk))                                           \
			__sync_fetch_and_add(&ev##s, 1);                   \
		return 0;                                                  \
	}                                                                  \
	task_watcher_func(ev, count_##ev)

COUNTER(init);
COUNTER(clone);
COUNTER(exec);
COUNTER(exit);

MODULE_LICENSE("GPL");
