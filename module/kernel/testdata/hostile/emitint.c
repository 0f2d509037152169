/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static int send(unsigned long val, struct task_struct *tsk)
{
	int n = task_pid(tsk);

	task_watcher_emit_struct(&n);
	return 0;
}
task_watcher_func(exec, send);

MODULE_LICENSE("GPL");
