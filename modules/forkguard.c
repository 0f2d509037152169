/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * forkguard: a user with more than `limit` live tasks gets EAGAIN from fork
 * and clone, as with RLIMIT_NPROC, but for every process at once and without
 * having been set before it started. A fork bomb ends harmlessly.
 *
 * The number is the kernel's own, of all tasks of the user in its user
 * namespace, those that ran before included.
 */
#include "task_watchers.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct counter___nproc {
	long counter;
};
struct ucounts {
	struct counter___nproc rlimit[4]; /* UCOUNT_RLIMIT_NPROC is the first */
};
struct cred___nproc {
	struct ucounts *ucounts;
};
#pragma clang attribute pop

module_param(limit, __u32, 4096);
MODULE_PARM_DESC(limit, "live tasks, threads included, that one user may have");
module_param(uid, __u32, 0);
MODULE_PARM_DESC(uid, "guard this user only; 0 guards all users but root");

__u64 refused;
__u32 last_refused_uid;

static int guard(unsigned long val, struct task_struct *tsk)
{
	__u32 user = task_uid(tsk);
	struct cred___nproc *cred = (void *)tsk->real_cred;
	long tasks;

	if (user == 0 || (uid && user != uid))
		return 0;
	/* The new task is counted already. */
	tasks = kernel_read(kernel_read(cred->ucounts)->rlimit[0].counter);
	if (tasks <= limit)
		return 0;
	__sync_fetch_and_add(&refused, 1);
	last_refused_uid = user;
	return -TW_EAGAIN;
}
task_watcher_func(init, guard);

MODULE_VETO(init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("refuses forks of users with too many live tasks");
