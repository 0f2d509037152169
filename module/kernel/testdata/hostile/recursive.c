/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static __noinline int down(struct task_struct *tsk, int n);

static __noinline int up(struct task_struct *tsk, int n) { return down(tsk, n + 1) ^ down(tsk, n + 2); }

static __noinline int down(struct task_struct *tsk, int n) { return up(tsk, n + tsk->pid) ^ up(tsk, n); }

static int deep(unsigned long val, struct task_struct *tsk) { return up(tsk, 0) > 3 ? -1 : 0; }
task_watcher_func(exit, deep);

MODULE_LICENSE("GPL");
