/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

module_param(limit, int, 3);

static int look(unsigned long val, struct task_struct *tsk)
{
	*(volatile int *)&limit = 4;
	return 0;
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
