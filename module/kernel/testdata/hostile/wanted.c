/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

char want[16] = "sh";

static int look(unsigned long val, struct task_struct *tsk)
{
	char comm[16];

	task_comm(tsk, comm);
	want[0]++;
	return task_string_is(comm, sizeof(comm), want) ? -TW_EPERM : 0;
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
