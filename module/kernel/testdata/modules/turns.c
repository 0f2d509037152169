/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Loops as often as a parameter, a constant and a variable say. */
#include "task_watchers.h"

module_param(turns, __u32, 0);
module_param(pid, int, 0);

__u32 variable;
__u64 calls, by_param, by_constant, by_variable;

static long count(__u32 i, __u64 *to)
{
	__sync_fetch_and_add(to, 1);
	return 0;
}

static long count_param(__u32 i, void *ctx) { return count(i, &by_param); }
static long count_constant(__u32 i, void *ctx) { return count(i, &by_constant); }
static long count_variable(__u32 i, void *ctx) { return count(i, &by_variable); }

static int loop(unsigned long val, struct task_struct *tsk)
{
	if (tsk->real_parent->tgid != pid)
		return 0;
	bpf_loop(turns, count_param, 0, 0);
	bpf_loop(0, count_constant, 0, 0);
	bpf_loop(3, count_constant, 0, 0);
	bpf_loop(variable, count_variable, 0, 0);
	variable = 2;
	__sync_fetch_and_add(&calls, 1);
	return 0;
}
task_watcher_func(exit, loop);

MODULE_LICENSE("GPL");
