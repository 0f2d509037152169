/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

task_storage(marks, __u32);

static int look(unsigned long val, struct task_struct *tsk)
{
	return marks_create(kernel_read(tsk->real_parent)) ? 0 : -TW_ENOMEM;
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
