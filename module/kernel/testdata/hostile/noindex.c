/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static int look(unsigned long val, struct task_struct *tsk)
{
	char comm[16];
	int i = task_pid(tsk);

	task_comm(tsk, comm);
	return i < 16 ? -comm[i] : 0;
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
