/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What is kept of the tasks and processes of one group, for others to read and set. */
#include "task_watchers.h"

module_param(gid, __u32, ~0u);

struct account {
	__u64 execs;
	__s32 list[2];
	bool on;
};
task_storage(lines, struct account);
process_storage(accounts, struct account);

__u64 tasks, processes; /* execs of those that have exited */
MODULE_GLOBAL(tasks);
MODULE_GLOBAL(processes);

static int count(unsigned long val, struct task_struct *tsk)
{
	struct account *line, *account;

	if (task_gid(tsk) != gid)
		return 0;
	line = lines_create(tsk);
	account = accounts_create(tsk);
	if (line)
		line->execs++;
	if (account)
		account->execs++;
	return 0;
}
task_watcher_func(exec, count);

static int add(unsigned long val, struct task_struct *tsk)
{
	struct account *line, *account;

	if (task_gid(tsk) != gid)
		return 0;
	line = lines_get(tsk);
	account = accounts_get(tsk);
	if (line)
		__sync_fetch_and_add(&tasks, line->execs);
	if (account)
		__sync_fetch_and_add(&processes, account->execs);
	return 0;
}
task_watcher_func(exit, add);

MODULE_LICENSE("GPL");
