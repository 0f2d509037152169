/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A module that sends a record at every clone by one process, and fails at every exec of its children. */
#include "task_watchers.h"

module_param(parent, __u32, 0);

struct note {
	__u64 tid, flags;
};

static int at_clone(unsigned long flags, struct task_struct *tsk)
{
	struct note note = {.tid = tsk->pid, .flags = flags};

	if ((__u32)task_ppid(tsk) == parent)
		task_watcher_emit(&note, sizeof(note));
	return 0;
}
task_watcher_func(clone, at_clone);

static int at_exec(unsigned long val, struct task_struct *tsk)
{
	return (__u32)task_ppid(tsk) == parent ? -TW_EACCES : 0;
}
task_watcher_func(exec, at_exec);

MODULE_LICENSE("Dual BSD/GPL");
