/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

struct account {
	struct bpf_spin_lock lock;
	__u64 at;
};
task_storage(accounts, struct account);

static int look(unsigned long val, struct task_struct *tsk)
{
	accounts_inherit(tsk);
	return 0;
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
