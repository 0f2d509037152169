/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* execed: how many execs of a process's children were decided, and succeeded. */
#include "task_watchers.h"

module_param(parent, int, 0);
module_param(errno, int, 0);

__u64 asked, done;
__u64 early; /* of done, those that had not happened yet */

static int decide(unsigned long zero, struct task_struct *tsk)
{
	if (task_ppid(tsk) == parent)
		__sync_fetch_and_add(&asked, 1);
	return 0;
}
task_watcher_func(exec, decide);
MODULE_VETO(exec);

static int succeeded(unsigned long zero, struct task_struct *tsk, struct linux_binprm *bprm)
{
	if (task_ppid(tsk) != parent)
		return 0;
	__sync_fetch_and_add(&done, 1);
	if (!task_exec_decided(bprm))
		__sync_fetch_and_add(&early, 1);
	return -errno;
}
task_execed_watcher_func(succeeded);

MODULE_LICENSE("GPL");
