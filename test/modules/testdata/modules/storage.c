/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A value for each task: the generation below the program of a name, which every
 * descendant inherits, and how often a task ran a program.
 */
#include "task_watchers.h"

module_param_string(program, 128, "");

struct line {
	__u64 generation;
	__u64 execs;
};
task_storage(lines, struct line);

__u64 begun, inherited, generations, execs, exits, freed, full, deleted;
MODULE_GLOBAL(begun);
MODULE_GLOBAL(inherited);
MODULE_GLOBAL(generations);
MODULE_GLOBAL(execs);
MODULE_GLOBAL(exits);
MODULE_GLOBAL(freed);
MODULE_GLOBAL(full);
MODULE_GLOBAL(deleted);

static int begin(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char path[128];
	struct line *l = lines_get(tsk);

	if (l) {
		l->execs++;
		return 0;
	}
	task_exec_path(tsk, bprm, path, sizeof(path));
	if (!task_string_is(path, sizeof(path), program))
		return 0;
	l = lines_create(tsk);
	if (l)
		begun++;
	else
		full++;
	return 0;
}
task_exec_watcher_func(begin);

static int inherit(unsigned long flags, struct task_struct *tsk)
{
	struct line *l = lines_inherit(tsk);

	if (l == NULL)
		return 0;
	__sync_fetch_and_add(&inherited, 1);
	l->generation++;
	l->execs = 0;
	return 0;
}
task_watcher_func(init, inherit);

static int sum(unsigned long code, struct task_struct *tsk)
{
	struct line *l = lines_get(tsk);

	if (!l)
		return 0;
	__sync_fetch_and_add(&exits, 1);
	__sync_fetch_and_add(&generations, l->generation);
	__sync_fetch_and_add(&execs, l->execs);
	if (code) {
		lines_delete(tsk);
		__sync_fetch_and_add(&deleted, !lines_get(tsk));
	}
	return 0;
}
task_watcher_func(exit, sum);

static int last(unsigned long code, struct task_struct *tsk)
{
	struct line *l = lines_get(tsk);

	if (l)
		__sync_fetch_and_add(&freed, 1);
	return 0;
}
task_watcher_func(free, last);

MODULE_LICENSE("GPL");
