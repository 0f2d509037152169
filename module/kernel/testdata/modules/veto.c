/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Denies what processes named as `comm` do, and counts what it was asked. */
#include "task_watchers.h"

module_param_string(comm, 16, "");
module_param(errno, int, 11);
module_param(on_init, bool, 0);
module_param(on_exec, bool, 0);
module_param(on_uid, bool, 0);
module_param(on_gid, bool, 0);

__u64 asked, refused, init_val, free_zero, inits, frees;
__u32 seen_old[4], seen_now[4], seen_cause;

static __always_inline bool named(void)
{
	char name[16];

	bpf_get_current_comm(name, sizeof(name));
	for (int i = 0; i < 16; i++) {
		if (name[i] != comm[i])
			return false;
		if (!name[i])
			break;
	}
	return true;
}

static __always_inline int decide(bool on)
{
	if (!named())
		return 0;
	__sync_fetch_and_add(&asked, 1);
	if (!on)
		return 0;
	__sync_fetch_and_add(&refused, 1);
	return -errno;
}

static int fork_wanted(unsigned long val, struct task_struct *tsk)
{
	if (named()) {
		__sync_fetch_and_add(&inits, 1);
		init_val = val;
	}
	return decide(on_init);
}
task_watcher_func(init, fork_wanted);

static int exec_wanted(unsigned long val, struct task_struct *tsk) { return decide(on_exec); }
task_watcher_func(exec, exec_wanted);

static int uid_wanted(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)
{
	if (named()) {
		for (int i = 0; i < 4; i++) {
			seen_old[i] = ids->old[i];
			seen_now[i] = ids->now[i];
		}
		seen_cause = ids->cause;
	}
	return decide(on_uid);
}
task_ids_watcher_func(uid, uid_wanted);

static int gid_wanted(unsigned long val, struct task_struct *tsk) { return decide(on_gid); }
task_watcher_func(gid, gid_wanted);

static int freed(unsigned long val, struct task_struct *tsk)
{
	char name[16];

	task_comm(tsk, name);
	for (int i = 0; i < 16; i++) {
		if (name[i] != comm[i])
			return 0;
		if (!name[i])
			break;
	}
	__sync_fetch_and_add(&frees, 1);
	if (!tsk->exit_state && !val)
		__sync_fetch_and_add(&free_zero, 1);
	return 0;
}
task_watcher_func(free, freed);

MODULE_VETO(init);
MODULE_VETO(exec);
MODULE_VETO(uid);
MODULE_VETO(gid);
MODULE_LICENSE("GPL");
