/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

struct other;
void bpf_strtol(struct other *what) __ksym; /* a function that every kernel has */

static int call(unsigned long val, struct task_struct *tsk)
{
	bpf_strtol(0);
	return 0;
}
task_watcher_func(exit, call);

MODULE_LICENSE("GPL");
