/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The children of each task that ends, in both directions of the list. */
#include "task_watchers.h"

__u64 pids;  /* of the children, each a digit more */
__u64 back;  /* from the last one to the first */

static int end(unsigned long code, struct task_struct *tsk)
{
	struct list_head *head = (void *)tsk + kernel_offset(struct task_struct, children), *at = head;

	pids = back = 0;
	for (int i = 0; i < 8; i++) {
		at = kernel_read(at->next);
		if (at == head)
			break;
		pids = 10 * pids + kernel_read(((struct task_struct *)((void *)at - kernel_offset(struct task_struct, sibling)))->tgid);
	}
	for (int i = 0; i < 8; i++) {
		at = kernel_read(at->prev);
		if (at == head)
			break;
		back = 10 * back + kernel_read(((struct task_struct *)((void *)at - kernel_offset(struct task_struct, sibling)))->tgid);
	}
	return 0;
}
task_watcher_func(exit, end);

MODULE_LICENSE("GPL");
