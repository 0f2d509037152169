/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* setid: what is known of the changes of user ids of some children. */
#include "task_watchers.h"

module_param(parent, int, 0);

__u64 calls;
__u32 cause, was, is;
__s64 number;
char exe[256];

static int changed(unsigned long zero, struct task_struct *tsk, const struct task_ids *ids)
{
	if (task_ppid(tsk) != parent)
		return 0;
	calls++;
	cause = ids->cause;
	was = ids->old[TASK_ID_EFFECTIVE];
	is = ids->now[TASK_ID_EFFECTIVE];
	number = task_syscall(tsk);
	task_exe(tsk, exe, sizeof(exe));
	return 0;
}
task_ids_watcher_func(uid, changed);

MODULE_LICENSE("GPL");
