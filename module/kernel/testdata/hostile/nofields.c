/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A field that no kernel has, in a function that a watcher calls, and behind what the kernel has. */
#include "task_watchers.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct signal_struct___nofields {
	int never_there;
};
struct task_struct___nofields {
	struct signal_struct___nofields *signal;
};
#pragma clang attribute pop

int seen;

static __noinline int behind(struct task_struct *tsk)
{
	seen++;
	return ((struct task_struct___nofields *)tsk)->signal->never_there;
}

static int second(unsigned long val, struct task_struct *tsk)
{
	return behind(tsk) > 0;
}
task_watcher_func(exit, second);

MODULE_LICENSE("GPL");
