/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lineage: nothing below the program ROOT runs the program DENIED, however deep. In the
 * sandbox, ROOT is no script: one that runs is known there by its interpreter. */
#include "task_watchers.h"

module_param_string(root, 63, "/usr/sbin/nginx");
module_param_string(denied, 63, "/bin/sh");

task_storage(below, bool); /* what descends from the root */

__u64 matched;
MODULE_GLOBAL(matched);

static int inherit(unsigned long flags, struct task_struct *tsk)
{
	below_inherit(tsk);
	return 0;
}
task_watcher_func(init, inherit);

static int check(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char path[64]; /* more than the parameters have: a longer path differs */

	task_exec_path(tsk, bprm, path, sizeof(path));
	if (!below_get(tsk) || !task_string_is(path, sizeof(path), denied))
		return 0;
	__sync_fetch_and_add(&matched, 1);
	return -TW_EPERM;
}
task_exec_watcher_func(check);

static int ran(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char path[64];

	task_exec_path(tsk, bprm, path, sizeof(path));
	if (task_string_is(path, sizeof(path), root))
		below_create(tsk);
	return 0;
}
task_execed_watcher_func(ran); /* an exec that is decided may still fail */

MODULE_READS_ONLY();
MODULE_VETO(exec);
MODULE_DESCRIPTION("denies a program below another one");
MODULE_LICENSE("GPL");
