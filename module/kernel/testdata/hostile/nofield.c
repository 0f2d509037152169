/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct___nofield {
	int never_there;
};
#pragma clang attribute pop

int seen;

/* The field is read by the first instruction. */
static int first(unsigned long val, struct task_struct *tsk)
{
	seen = ((struct task_struct___nofield *)tsk)->never_there;
	return 0;
}
task_watcher_func(exit, first);

MODULE_LICENSE("GPL");
