/* order: tells of every event, and could deny execs. */
#include "task_watchers.h"

static int tell(unsigned long val, struct task_struct *tsk)
{
	task_watcher_emit("", 0);
	return 0;
}
task_watcher_func(init, tell);
task_watcher_func(clone, tell);
task_watcher_func(exec, tell);
task_watcher_func(exit, tell);
MODULE_VETO(exec);
