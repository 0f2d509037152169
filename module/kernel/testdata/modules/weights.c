/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A large value for each task that a process makes. */
#include "task_watchers.h"

module_param(pid, int, 0);

struct weight {
	char bytes[6000]; /* takes 8 KiB */
};
task_storage(weights, struct weight);

__u64 made, full;

static int weigh(unsigned long flags, struct task_struct *tsk)
{
	if (task_pid(tsk) == pid || task_ppid(tsk) == pid) /* kernels differ in whether the ids are its own yet */
		__sync_fetch_and_add(weights_create(tsk) ? &made : &full, 1);
	return 0;
}
task_watcher_func(init, weigh);

MODULE_LICENSE("GPL");
