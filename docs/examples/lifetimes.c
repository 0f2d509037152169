/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lifetimes: how long programs run, from exec to exit, in powers of two of
 * microseconds: lifetimes[10] is 512 to 1023 us. */
#include "task_watchers.h"

task_storage(began, __u64);

__u64 lifetimes[40];

static int begin(unsigned long val, struct task_struct *tsk)
{
	__u64 *at = began_create(tsk->group_leader);

	if (at)
		*at = bpf_ktime_get_boot_ns();
	return 0;
}
task_watcher_func(exec, begin);

static int end(unsigned long code, struct task_struct *tsk)
{
	__u64 *at = task_is_leader(tsk) ? began_get(tsk) : 0, us;
	__u32 slot = 0;

	if (!at)
		return 0;
	us = (bpf_ktime_get_boot_ns() - *at) / 1000;
	while (us && slot < 39) {
		us >>= 1;
		slot++;
	}
	__sync_fetch_and_add(&lifetimes[slot], 1);
	return 0;
}
task_watcher_func(exit, end);

MODULE_DESCRIPTION("a histogram of how long programs run");
MODULE_LICENSE("GPL");
