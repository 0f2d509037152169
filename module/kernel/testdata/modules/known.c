/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* known: which tasks a module with attach and detach is called for. */
#include "task_watchers.h"

__u64 attaches, inits, execs, execeds, exits, frees, detaches;
__u64 strange;    /* tasks that are called for without a value, or have one too early */
__u64 pids;       /* of the running task, at exec */
__u64 not_leader; /* execs of tasks that do not lead their process */
__s64 parents;    /* of what is made */

task_storage(seen, __u64);

static int attach(unsigned long zero, struct task_struct *tsk)
{
	attaches++;
	if (seen_get(tsk) || !seen_create(tsk))
		strange++;
	return 0;
}
task_watcher_func(attach, attach);

static int init(unsigned long flags, struct task_struct *tsk)
{
	inits++;
	if (seen_get(tsk) || !seen_create(tsk) || bpf_get_current_task_btf() == tsk)
		strange++;
	if (task_pid(tsk) != task_tid(bpf_get_current_task_btf())) /* it has none yet */
		strange++;
	parents += task_ppid(tsk);
	return -TW_EAGAIN;
}
task_watcher_func(init, init);

static int exec(unsigned long zero, struct task_struct *tsk)
{
	__u64 *n = seen_get(tsk);

	execs++;
	pids += bpf_get_current_pid_tgid() >> 32;
	not_leader += tsk->group_leader != tsk;
	if (n)
		(*n)++;
	else
		strange++;
	return 0;
}
task_watcher_func(exec, exec);

static int execed(unsigned long zero, struct task_struct *tsk)
{
	__u64 *n = seen_get(tsk);

	execeds++;
	if (!n || !*n)
		strange++;
	return 0;
}
task_watcher_func(execed, execed);

static int exit(unsigned long code, struct task_struct *tsk)
{
	exits += 1 + (code >> 8 == 3 && tsk->exit_code == code ? 100 : 0);
	if (!seen_get(tsk))
		strange++;
	return 0;
}
task_watcher_func(exit, exit);

static int gone(unsigned long code, struct task_struct *tsk)
{
	frees++;
	if (!seen_get(tsk) || tsk->mm)
		strange++;
	return 0;
}
task_watcher_func(free, gone);

static int detach(unsigned long zero, struct task_struct *tsk)
{
	detaches++;
	if (!seen_get(tsk))
		strange++;
	return 0;
}
task_watcher_func(detach, detach);

MODULE_VETO(init);
MODULE_LICENSE("GPL");
