/*
 * hostile: does what a module must not, as mode says, on exec; on exit it only
 * counts.
 */
#include "task_watchers.h"

module_param(mode, int, 0);
module_param(every, __u32, 1);

__u64 calls, counted;
MODULE_GLOBAL(calls);
MODULE_GLOBAL(counted);
__u64 taken;
MODULE_GLOBAL(taken);

char flood[8] = "flood"; /* of a length that the compiler does not know */
static volatile int zero;
static volatile __u32 sink;

/* Two calls each: with a depth that the stack has room for, and no loop, it
 * takes longer than the universe has. */
static __noinline int tree(int depth)
{
	sink += depth;
	return depth == 0 ? 0 : tree(depth - 1) + tree(depth - 1);
}

static __noinline int deep(int n)
{
	volatile char frame[64];

	frame[n & 63] = n;
	return n < 0 ? 0 : deep(n + 1) + frame[n & 63];
}

static char line[4096];

static int misbehave(unsigned long val, struct task_struct *tsk)
{
	if (++calls % every)
		return 0;
	switch (mode) {
	case 1: /* an endless loop */
		for (;;)
			sink++;
	case 2: /* an endless loop that does nothing */
		for (;;)
			__asm__ volatile("");
	case 3: /* recursion without a loop */
		return tree(200) > 0;
	case 4: /* recursion without end */
		return deep(0) > 0;
	case 5:
		return 7 / zero;
	case 6:
		__builtin_trap();
	case 7: /* beyond its memory */
		return *(volatile int *)0xfffffff0;
	case 8: /* as much memory as there is */
		while (__builtin_wasm_memory_grow(0, 1) != (__SIZE_TYPE__)-1)
			taken++;
		return 0;
	case 9: /* a flood of records */
		for (;;)
			task_watcher_emit(line, sizeof(line));
	case 10: /* many records, and then it returns */
		for (int i = 0; i < 1000; i++)
			if (task_watcher_emit(line, sizeof(line)) == 0)
				taken++;
		return 0;
	case 11: /* a record that is too long, and one from nowhere */
		if (task_watcher_emit(line, 65537) != -90 || task_watcher_emit((void *)0xfffffff0, 100) != -14)
			taken = 999;
		return 0;
	case 12: /* a flood of lines */
		for (int i = 0; i < 1000; i++)
			task_watcher_log(TW_LOG_INFO, flood);
		return 0;
	case 13: /* an odd result */
		return -100000;
	}
	return 0;
}
task_watcher_func(exec, misbehave);

static int count(unsigned long val, struct task_struct *tsk)
{
	counted++;
	return 0;
}
task_watcher_func(exit, count);

MODULE_VETO(exec);
