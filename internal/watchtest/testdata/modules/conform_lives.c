/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whether each task of a session meets what it should, once: see Attach. */
#include "task_watchers.h"

module_param(session, int, 0);
module_param(errno, int, 0);

__u64 attaches, inits, frees, detaches; /* of the session */
__u64 twice;                            /* attach or init after one of them, detach or free after one of them */
__u64 unknown;                          /* anything of a task that has met neither attach nor init */
__u64 unread;                           /* anything of a task whose life cannot be read */
__u64 forgotten;                        /* tasks that the kernel had no memory for when they began */
__u64 all;                              /* attaches, of any session */

MODULE_GLOBAL(attaches);
MODULE_GLOBAL(inits);
MODULE_GLOBAL(frees);
MODULE_GLOBAL(detaches);
MODULE_GLOBAL(twice);
MODULE_GLOBAL(unknown);
MODULE_GLOBAL(unread);
MODULE_GLOBAL(forgotten);
MODULE_GLOBAL(all);

struct life {
	__u32 met, gone, ours;
};
task_storage(lives, struct life);

static __always_inline bool is_ours(struct task_struct *tsk)
{
#ifdef __bpf__
	struct pid *sid = kernel_read(kernel_read(tsk->signal)->pids[3]);

	return kernel_read(sid->numbers[0].nr) == session;
#else
	return true; /* the registry has no other tasks */
#endif
}

static __always_inline void begin(struct task_struct *tsk, __u64 *counter)
{
	struct life *l = lives_create(tsk);

	if (!l) {
		__sync_fetch_and_add(&forgotten, 1);
		return;
	}
	if (__sync_fetch_and_add(&l->met, 1))
		__sync_fetch_and_add(&twice, 1);
	if (!is_ours(tsk))
		return;
	l->ours = 1;
	__sync_fetch_and_add(counter, 1);
}

static __always_inline void end(struct task_struct *tsk, __u64 *counter)
{
	struct life *l = lives_get(tsk);

	if (!l) {
		__sync_fetch_and_add(&unread, 1);
		return;
	}
	if (!l->met)
		__sync_fetch_and_add(&unknown, 1);
	if (__sync_fetch_and_add(&l->gone, 1))
		__sync_fetch_and_add(&twice, 1);
	if (l->ours)
		__sync_fetch_and_add(counter, 1);
}

static int attach(unsigned long zero, struct task_struct *tsk)
{
	__sync_fetch_and_add(&all, 1);
	begin(tsk, &attaches);
	return -errno;
}
task_watcher_func(attach, attach);

static int init(unsigned long flags, struct task_struct *tsk)
{
	begin(tsk, &inits);
	return 0;
}
task_watcher_func(init, init);

static int between(unsigned long val, struct task_struct *tsk)
{
	struct life *l = lives_get(tsk);

	if (!l)
		__sync_fetch_and_add(&unread, 1);
	else if (!l->met || l->gone)
		__sync_fetch_and_add(&unknown, 1);
	return 0;
}
task_watcher_func(clone, between);
task_watcher_func(exec, between);
task_watcher_func(exit, between);

static int ended(unsigned long code, struct task_struct *tsk)
{
	end(tsk, &frees);
	return 0;
}
task_watcher_func(free, ended);

static int detach(unsigned long zero, struct task_struct *tsk)
{
	end(tsk, &detaches);
	return -errno;
}
task_watcher_func(detach, detach);

MODULE_LICENSE("GPL");
