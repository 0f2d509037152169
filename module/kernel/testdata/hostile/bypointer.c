/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static int low(__u64 n) { return n & 1; }
static int high(__u64 n) { return n >> 63; }

static int look(unsigned long val, struct task_struct *tsk)
{
	int (*bit)(__u64) = val ? low : high;

	return -bit(bpf_ktime_get_ns());
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
