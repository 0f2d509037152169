/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the accessors of the header say of the tasks of one group, added up,
 * and a verdict on some of them. Built for the kernel and for the sandbox, it
 * has to give the same answers.
 */
#include "task_watchers.h"

module_param(gid, __u32, 0);
MODULE_PARM_DESC(gid, "look at the tasks whose real group id this is");
module_param(uid, __u32, 0);
MODULE_PARM_DESC(uid, "complain of those whose real user id this is");

#define GLOBAL(name) \
	__u64 name;  \
	MODULE_GLOBAL(name)

GLOBAL(inits);
GLOBAL(clones);
GLOBAL(execs);
GLOBAL(uids);
GLOBAL(gids);
GLOBAL(exits);
GLOBAL(frees);
GLOBAL(flags);	   /* sum of the clone flags */
GLOBAL(codes);	   /* sum of the exit codes */
GLOBAL(leaders);   /* first threads that have exited */
GLOBAL(started);   /* when those that have exited had started, all of it */
GLOBAL(relatives); /* sum of all their ids */
GLOBAL(owners);	   /* sum of the ids before and after a change */
GLOBAL(named);	   /* letters of the names of those that have exited */

static bool ours(struct task_struct *tsk) { return task_gid(tsk) == gid; }

#define ADD(to, what) __sync_fetch_and_add(&to, what)

static int on_init(unsigned long val, struct task_struct *tsk)
{
	if (!ours(tsk))
		return 0;
	ADD(inits, 1);
	ADD(flags, task_val(val, tsk));
	return 0;
}
task_watcher_func(init, on_init);

static int on_clone(unsigned long val, struct task_struct *tsk)
{
	if (!ours(tsk))
		return 0;
	ADD(clones, 1);
	ADD(flags, task_val(val, tsk));
	ADD(relatives, task_tid(tsk) + task_pid(tsk) + task_ppid(tsk));
	return 0;
}
task_watcher_func(clone, on_clone);

static int on_exec(unsigned long val, struct task_struct *tsk)
{
	if (!ours(tsk))
		return 0;
	ADD(execs, 1 + val);
	return task_uid(tsk) == uid ? -TW_EACCES : 0;
}
task_watcher_func(exec, on_exec);

/* What tsk has at uid and gid may be the old ids or the new: hence task_ids. */
static __always_inline void owned(const struct task_ids *ids)
{
	ADD(owners, (__u64)ids->old[TASK_ID_REAL] + ids->old[TASK_ID_EFFECTIVE] + ids->now[TASK_ID_REAL] + ids->now[TASK_ID_EFFECTIVE]);
}

static int on_uid(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)
{
	if (!ours(tsk))
		return 0;
	ADD(uids, 1);
	owned(ids);
	return ids->now[TASK_ID_EFFECTIVE] == uid ? -TW_EPERM : 0;
}
task_ids_watcher_func(uid, on_uid);

static int on_gid(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)
{
	if (ids->now[TASK_ID_REAL] != gid)
		return 0;
	ADD(gids, 1);
	owned(ids);
	return ids->cause == TASK_CAUSE_SYSCALL && ids->old[TASK_ID_EFFECTIVE] != gid ? -TW_EPERM : 0;
}
task_ids_watcher_func(gid, on_gid);

static int on_exit(unsigned long val, struct task_struct *tsk)
{
	char name[16];

	if (!ours(tsk))
		return 0;
	ADD(exits, 1);
	ADD(codes, val);
	ADD(leaders, task_is_leader(tsk));
	ADD(started, task_start_ns(tsk));
	ADD(relatives, task_tid(tsk) + task_pid(tsk));
	task_comm(tsk, name);
	for (int i = 0; i < 16 && name[i]; i++)
		ADD(named, name[i]);
	return val & 0x7f ? -TW_EAGAIN : 0; /* a signal */
}
task_watcher_func(exit, on_exit);

static int on_free(unsigned long val, struct task_struct *tsk)
{
	if (ours(tsk))
		ADD(frees, 1);
	return 0;
}
task_watcher_func(free, on_free);

MODULE_LICENSE("GPL");
