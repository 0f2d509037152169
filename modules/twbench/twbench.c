/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * twbench: how many tasks start and end on this machine, in total and per
 * second. Its namesake measured the task watchers patches.
 *
 * The rates are of the last full second in which something happened; a task
 * that starts just as the second ends may be counted with its neighbour. The
 * totals are exact.
 */
#include "task_watchers.h"

#define SECOND 1000000000ULL

__u64 forks, exits;                        /* since the module was loaded */
__u64 forks_per_second, exits_per_second;  /* in the last full second */
__u64 peak_forks_per_second, peak_exits_per_second;

static __u64 second, forks_before, exits_before;

/* roll - end a second, on the first event of the next one */
static __always_inline void roll(void)
{
	__u64 now = bpf_ktime_get_ns() / SECOND, then = second, n;

	if (now == then || __sync_val_compare_and_swap(&second, then, now) != then)
		return; /* the same second, or another CPU was faster */
	n = forks - forks_before;
	forks_before = forks;
	forks_per_second = then ? n : 0;
	if (then && n > peak_forks_per_second)
		peak_forks_per_second = n;
	n = exits - exits_before;
	exits_before = exits;
	exits_per_second = then ? n : 0;
	if (then && n > peak_exits_per_second)
		peak_exits_per_second = n;
}

static int forked(unsigned long val, struct task_struct *tsk)
{
	roll();
	__sync_fetch_and_add(&forks, 1);
	return 0;
}
task_watcher_func(clone, forked);

static int exited(unsigned long val, struct task_struct *tsk)
{
	roll();
	__sync_fetch_and_add(&exits, 1);
	return 0;
}
task_watcher_func(exit, exited);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("fork and exit rates of the machine");
