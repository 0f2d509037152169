/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts the execs of one process and its children, takes its time for each,
 * and fails each. */
#include "task_watchers.h"

module_param(pid, __u32, 0);
module_param(ns, __u64, 0);

__u64 calls, asked;

static int spin(unsigned long val, struct task_struct *tsk)
{
	__u64 start;

	__sync_fetch_and_add(&asked, 1);
	if (task_pid(tsk) != pid && task_ppid(tsk) != pid)
		return 0;
	__sync_fetch_and_add(&calls, 1);
	start = bpf_ktime_get_ns();
	for (int i = 0; i < 4000; i++)
		if (bpf_ktime_get_ns() - start >= ns)
			break;
	return -TW_EACCES;
}
task_watcher_func(exec, spin);

static int quick(unsigned long val, struct task_struct *tsk)
{
	return 0;
}
task_watcher_func(exec, quick);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("takes its time, for tests");
