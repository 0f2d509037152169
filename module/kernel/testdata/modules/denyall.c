/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Denies every fork but those of one process, which has to run the test, and of the kernel. */
#include "task_watchers.h"

#define KTHREAD 0x00200000

module_param(spare, int, 0);
MODULE_PARM_DESC(spare, "the process");

__u64 denied;

static int deny(unsigned long val, struct task_struct *tsk)
{
	struct task_struct *parent = bpf_get_current_task_btf();

	if (parent->tgid == spare || parent->flags & KTHREAD)
		return 0;
	__sync_fetch_and_add(&denied, 1);
	return -TW_EPERM;
}
task_watcher_func(init, deny);

MODULE_VETO(init);
MODULE_LICENSE("GPL");
