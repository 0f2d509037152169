/*
 * exitcode: the exit codes of programs, and nothing else.
 */
#include "task_watchers.h"

MODULE_READS_ONLY();

int code;
MODULE_GLOBAL(code);

static int look(unsigned long val, struct task_struct *tsk)
{
	code = tsk->exit_code;
	return 0;
}
task_watcher_func(exit, look);
MODULE_LICENSE("GPL");
