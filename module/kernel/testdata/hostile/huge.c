/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

char lots[1 << 30];

static int f(unsigned long val, struct task_struct *tsk) { return lots[val & 0xffff]; }
task_watcher_func(exit, f);

MODULE_LICENSE("GPL");
