/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts forks, execs and exits, and notes when it runs while poisoned. */
#include "task_watchers.h"

module_param(pid, __u32, 0);

__u64 inits, clones, execs, exits;
__u64 ran, ran_poisoned;
__u32 poisoned;

static bool counts(struct task_struct *tsk)
{
	__sync_fetch_and_add(&ran, 1);
	if (poisoned)
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
