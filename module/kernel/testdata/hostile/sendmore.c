/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static int send(unsigned long val, struct task_struct *tsk)
{
	__u32 note = 1;

	task_watcher_emit(&note, task_pid(tsk) & 15);
	return 0;
}
task_watcher_func(exit, send);
task_watcher_func(attach, send);

MODULE_LICENSE("GPL");
