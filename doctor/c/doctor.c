/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What 'taskwatch doctor' tries the table in the kernel with. It counts the
 * events of one process, and denies what that process does if told to. All
 * others pass.
 */
#include "task_watchers.h"

#define CLONE_THREAD 0x10000

module_param(pid, int, 0);
MODULE_PARM_DESC(pid, "the process");
module_param(deny, int, 0);
MODULE_PARM_DESC(deny, "the error to deny it with; 0 denies nothing");

__u64 seen[NUM_WATCH_TASK_EVENTS];

static __always_inline bool acts(void) { return bpf_get_current_pid_tgid() >> 32 == pid; }

static __always_inline void count(int event, struct task_struct *tsk)
{
	if (task_pid(tsk) == pid || acts())
		__sync_fetch_and_add(&seen[event], 1);
}

#define watch(ev, num, deniable)                                       \
	static int on_##ev(unsigned long val, struct task_struct *tsk) \
	{                                                              \
		count(num, tsk);                                       \
		return (deniable) && acts() ? -deny : 0;               \
	}                                                              \
	task_watcher_func(ev, on_##ev)

watch(init, WATCH_TASK_INIT, !(val & CLONE_THREAD));
watch(clone, WATCH_TASK_CLONE, false);
watch(exec, WATCH_TASK_EXEC, true);
watch(uid, WATCH_TASK_UID, true);
watch(gid, WATCH_TASK_GID, true);
watch(exit, WATCH_TASK_EXIT, false);
watch(free, WATCH_TASK_FREE, false);

MODULE_VETO(init);
MODULE_VETO(exec);
MODULE_VETO(uid);
MODULE_VETO(gid);
MODULE_DESCRIPTION("tries the table for one process");
MODULE_LICENSE("Dual BSD/GPL");
