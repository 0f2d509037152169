/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static int deny(unsigned long val, struct task_struct *tsk)
{
	return 0;
}
task_watcher_func(exec, deny);

MODULE_VETO(exec);
MODULE_LICENSE("GPL");
