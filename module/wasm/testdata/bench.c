/* bench: a watcher that does next to nothing, and one that loops. */
#include "task_watchers.h"

module_param(rounds, __u32, 10000);

__u64 execs, sum;
MODULE_GLOBAL(execs);
MODULE_GLOBAL(sum);

static int count(unsigned long val, struct task_struct *tsk)
{
	execs++;
	return 0;
}
task_watcher_func(exec, count);

static int loop(unsigned long val, struct task_struct *tsk)
{
	__u32 x = val;

	for (__u32 i = 0; i < rounds; i++)
		x = x * 1664525 + 1013904223;
	sum += x;
	return 0;
}
task_watcher_func(exit, loop);
