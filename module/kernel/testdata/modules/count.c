/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts every event of the process that is named, and nothing else. */
#include "task_watchers.h"

module_param(pid, __u32, 0);
MODULE_PARM_DESC(pid, "count what this process and its children do");

__u64 inits, clones, execs, uids, gids, exits, frees;
__u64 ran; /* how often anything ran */

static bool counts(struct task_struct *tsk)
{
	__sync_fetch_and_add(&ran, 1);
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
COUNTER(uid);
COUNTER(gid);
COUNTER(exit);
COUNTER(free);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("counts events, for tests");
