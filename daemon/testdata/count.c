/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

module_param(uid, int, -1);
MODULE_PARM_DESC(uid, "the user to count for; -1 is everybody");
module_param(fail, bool, false);
MODULE_PARM_DESC(fail, "return an error");

__u64 execs;
__u64 exits;
MODULE_GLOBAL(execs);
MODULE_GLOBAL(exits);

static int count_exec(unsigned long val, struct task_struct *tsk)
{
	if (uid != -1 && task_uid(tsk) != uid)
		return 0;
	__sync_fetch_and_add(&execs, 1);
	return fail ? -TW_EACCES : 0;
}
task_watcher_func(exec, count_exec);

static int count_exit(unsigned long val, struct task_struct *tsk)
{
	if (uid == -1 || task_uid(tsk) == uid)
		__sync_fetch_and_add(&exits, 1);
	return 0;
}
task_watcher_func(exit, count_exit);

MODULE_DESCRIPTION("counts execs and exits");
MODULE_AUTHOR("taskwatch");
MODULE_VERSION("1.2");
MODULE_LICENSE("GPL");
