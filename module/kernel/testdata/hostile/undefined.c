/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

int elsewhere(struct task_struct *tsk);

static int f(unsigned long val, struct task_struct *tsk) { return elsewhere(tsk); }
task_watcher_func(exit, f);

MODULE_LICENSE("GPL");
