/*
 * decide: decides execs by the user alone.
 */
#include "task_watchers.h"

MODULE_READS_ONLY();

static int decide(unsigned long val, struct task_struct *tsk)
{
	return task_uid(tsk) ? -TW_EACCES : 0;
}
task_watcher_func(exec, decide);
MODULE_VETO(exec);
MODULE_LICENSE("GPL");
