/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static int look(unsigned long val, struct task_struct *tsk)
{
	tsk->exit_code = 0;
	return 0;
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
