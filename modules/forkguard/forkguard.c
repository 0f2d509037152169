/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * forkguard: a user with more than `limit` live tasks gets EAGAIN from fork
 * and clone, as with RLIMIT_NPROC, but for every process at once and without
 * having been set before it started. A fork bomb ends harmlessly.
 *
 * The number is the kernel's own, of all tasks of the user, those that ran
 * before included. A user namespace has a number of its own for each of its
 * users, and all its tasks count for the user who has made it, too: each level
 * is looked at, so that making a namespace gains nothing.
 */
#include "task_watchers.h"

#define LEVELS_MAX 34 /* the kernel lets user namespaces nest 32 deep */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct counter___nproc {
	long counter;
};
struct user_namespace___nproc {
	struct ucounts___nproc *ucounts; /* of the user who has made it; NULL for the first */
};
struct ucounts___nproc {
	struct user_namespace___nproc *ns;
	kuid_t uid;
	struct counter___nproc rlimit[4]; /* UCOUNT_RLIMIT_NPROC is the first */
};
struct cred___nproc {
	struct ucounts___nproc *ucounts;
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
	struct cred___nproc *cred = (void *)tsk->real_cred;
	struct ucounts___nproc *level = cred->ucounts;

	for (int i = 0; i < LEVELS_MAX && level; i++) {
		__u32 user = level->uid.val;

		/* The new task is counted already. Linux 6.1 knows the counter's type by a name alone. */
		if (user != 0 && (!uid || user == uid) && kernel_read(level->rlimit[0].counter) > limit) {
			__sync_fetch_and_add(&refused, 1);
			last_refused_uid = user;
			return -TW_EAGAIN;
		}
		level = level->ns->ucounts;
	}
	return 0;
}
task_watcher_func(init, guard);

MODULE_VETO(init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("denies forks of users with too many live tasks");
