/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* For the sandbox: it never returns. */
#include "task_watchers.h"

volatile int forever = 1;

static int loop(unsigned long val, struct task_struct *tsk)
{
	while (forever)
		;
	return 0;
}
task_watcher_func(exec, loop);

MODULE_LICENSE("GPL");
