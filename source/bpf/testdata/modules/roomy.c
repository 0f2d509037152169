/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A module that sends a record of 256 bytes from its stack at each exec of a process's children. */
#include "task_watchers.h"

module_param(parent, __u32, 0);

struct note {
	__u64 words[32];
};

static int at_exec(unsigned long val, struct task_struct *tsk)
{
	struct note note = {};

	if ((__u32)task_ppid(tsk) != parent)
		return 0;
	for (int i = 0; i < 32; i++)
		note.words[i] = i;
	task_watcher_emit(&note, sizeof(note));
	return 0;
}
task_watcher_func(exec, at_exec);

MODULE_LICENSE("Dual BSD/GPL");
