/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

const char *names[] = {"one", "two"};

static int look(unsigned long val, struct task_struct *tsk)
{
	char text[4];

	bpf_probe_read_kernel_str(text, sizeof(text), names[val & 1]);
	return -text[0];
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
