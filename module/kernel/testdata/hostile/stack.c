/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Each function fits the stack; together they do not. */
#include "task_watchers.h"

static __noinline int inner(struct task_struct *tsk)
{
	volatile char buf[300];

	for (int i = 0; i < 300; i++)
		buf[i] = tsk->pid;
	return buf[7];
}

static int fine(unsigned long val, struct task_struct *tsk) { return 0; }
task_watcher_func(clone, fine);

static int hungry(unsigned long val, struct task_struct *tsk)
{
	volatile char buf[300];

	for (int i = 0; i < 300; i++)
		buf[i] = val;
	return inner(tsk) + buf[9];
}
task_watcher_func(exit, hungry);

MODULE_LICENSE("GPL");
