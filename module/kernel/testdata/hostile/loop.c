/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static int forever(unsigned long val, struct task_struct *tsk)
{
	volatile int i = 0;

	while (i >= 0)
		i = tsk->pid;
	return 0;
}
task_watcher_func(exit, forever);

MODULE_LICENSE("GPL");
