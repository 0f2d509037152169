/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Denies some of what the tasks of one group do, by their user ids and by
 * those they want. Built for the kernel and for the sandbox, it has to deny
 * the same.
 */
#include "task_watchers.h"

module_param(gid, __u32, 0);
MODULE_PARM_DESC(gid, "decide on the tasks whose real group id this is");

__u64 asked;
MODULE_GLOBAL(asked);
__u64 refused;
MODULE_GLOBAL(refused);

static int decide(__u32 group, bool deny, int err)
{
	if (group != gid)
		return 0;
	__sync_fetch_and_add(&asked, 1);
	if (!deny)
		return 0;
	__sync_fetch_and_add(&refused, 1);
	return -err;
}

static int on_init(unsigned long val, struct task_struct *tsk) { return decide(task_gid(tsk), task_euid(tsk) == 4241, TW_EAGAIN); }
task_watcher_func(init, on_init);

static int on_exec(unsigned long val, struct task_struct *tsk) { return decide(task_gid(tsk), task_uid(tsk) == 4242, TW_EACCES); }
task_watcher_func(exec, on_exec);

static int on_uid(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)
{
	return decide(task_gid(tsk), ids->old[TASK_ID_EFFECTIVE] == 0 && ids->now[TASK_ID_EFFECTIVE] == 4243, TW_ENOMEM);
}
task_ids_watcher_func(uid, on_uid);

static int on_gid(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)
{
	return decide(ids->old[TASK_ID_REAL], ids->now[TASK_ID_SAVED] == 4244, TW_EPERM);
}
task_ids_watcher_func(gid, on_gid);

MODULE_VETO(init);
MODULE_VETO(exec);
MODULE_VETO(uid);
MODULE_VETO(gid);
MODULE_LICENSE("GPL");
