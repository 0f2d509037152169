/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counts the values that could not be made. */
#include "task_watchers.h"

task_storage(values, __u64);
task_table(entries, __u64, 16384);

__u64 inits, clones, lacking_at_init, lacking_at_clone, lacking_in_table;

static int begin(unsigned long flags, struct task_struct *tsk)
{
	__sync_fetch_and_add(&inits, 1);
	if (!values_create(tsk))
		__sync_fetch_and_add(&lacking_at_init, 1);
	values_delete(tsk);
	return 0;
}
task_watcher_func(init, begin);

static int cloned(unsigned long flags, struct task_struct *tsk)
{
	__sync_fetch_and_add(&clones, 1);
	if (!values_create(tsk))
		__sync_fetch_and_add(&lacking_at_clone, 1);
	if (!entries_create(tsk))
		__sync_fetch_and_add(&lacking_in_table, 1);
	return 0;
}
task_watcher_func(clone, cloned);

static int end(unsigned long code, struct task_struct *tsk)
{
	entries_delete(tsk);
	return 0;
}
task_watcher_func(exit, end);

MODULE_LICENSE("GPL");
