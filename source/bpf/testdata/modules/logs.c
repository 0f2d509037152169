/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A module that logs at every clone by one process, and once more than it may. */
#include "task_watchers.h"

module_param(parent, __u32, 0);
module_param(more, __u32, 0);

static long again(__u32 i, void *unused)
{
	task_watcher_log(TW_LOG_DEBUG, "again");
	return 0;
}

static int say(unsigned long flags, struct task_struct *tsk)
{
	char name[16] = {};

	if ((__u32)task_ppid(tsk) != parent)
		return 0;
	task_watcher_log(TW_LOG_INFO, "a literal\n");
	task_comm(tsk, name);
	task_watcher_log(TW_LOG_ERROR, name);
	bpf_loop(more, again, 0, 0);
	return 0;
}
task_watcher_func(clone, say);

MODULE_LICENSE("Dual BSD/GPL");
