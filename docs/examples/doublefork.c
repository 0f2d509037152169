/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* doublefork: a record when a process that was forked ends without having run a program,
 * and a child of it goes on: so programs become daemons, and hide their parents. */
#include "task_watchers.h"

task_storage(execs, __u32);

struct orphan {
	__u32 pid, parent, child;
	char comm[16];
};

static int born(unsigned long flags, struct task_struct *tsk)
{
	execs_create(tsk);
	return 0;
}
task_watcher_func(init, born);

static int ran(unsigned long val, struct task_struct *tsk)
{
	__u32 *n = execs_create(tsk->group_leader);

	if (n)
		(*n)++;
	return 0;
}
task_watcher_func(exec, ran);

static int end(unsigned long code, struct task_struct *tsk)
{
	__u32 *ran = execs_get(tsk);
	struct list_head *first = tsk->children.next;
	struct task_struct *child = (void *)first - kernel_offset(struct task_struct, sibling);
	struct orphan o = {.pid = task_pid(tsk), .parent = task_ppid(tsk)};

	if (!task_is_leader(tsk) || !ran || *ran || (void *)first == (void *)tsk + kernel_offset(struct task_struct, children))
		return 0;
	o.child = kernel_read(child->tgid);
	task_comm(tsk, o.comm);
	task_watcher_emit_struct(&o);
	return 0;
}
task_watcher_func(exit, end);

MODULE_DESCRIPTION("processes that fork and leave their children behind");
MODULE_LICENSE("GPL");
