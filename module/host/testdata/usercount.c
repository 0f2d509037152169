// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

#include "task_watchers.h"

module_param(uid, int, -1);
MODULE_PARM_DESC(uid, "the user whose execs are counted");

__u64 execs;
MODULE_GLOBAL(execs);

static int count(unsigned long val, struct task_struct *tsk)
{
	if (uid == -1 || task_uid(tsk) == uid)
		__sync_fetch_and_add(&execs, 1);
	return 0;
}
task_watcher_func(exec, count);

MODULE_LICENSE("GPL");
