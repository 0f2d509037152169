/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static int nothing(unsigned long val, struct task_struct *tsk) { return 0; }
task_watcher_func(clone, nothing);

MODULE_ATTACH_AT_LEAST_ONCE;
MODULE_LICENSE("GPL");
