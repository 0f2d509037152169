/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

void bpf_strange(void) __ksym;

static int call(unsigned long val, struct task_struct *tsk)
{
	bpf_strange();
	return 0;
}
task_watcher_func(exit, call);

MODULE_LICENSE("GPL");
