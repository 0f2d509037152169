/* Values that it is no use to ask for. */
#include "task_watchers.h"

struct {
	__u64 values[1];
} loops, traps, outside, refuses;

static int loop(__u32 op, struct tw_task_id id)
{
	for (volatile int i = 0;; i++)
		;
}
TW_MAP(loops, TW_OF_TASKS, loop);

static int trap(__u32 op, struct tw_task_id id)
{
	__builtin_trap();
}
TW_MAP(traps, TW_OF_TASKS, trap);

static int far(__u32 op, struct tw_task_id id)
{
	return 0x7ffffff0;
}
TW_MAP(outside, TW_OF_TASKS, far);

static int say(__u32 op, struct tw_task_id id)
{
	task_watcher_log(TW_LOG_WARN, "asked");
	return task_watcher_emit("x", 1) == -22 ? -5 : 0; /* EIO: nobody's event */
}
TW_MAP(refuses, TW_OF_TASKS, say);

__u64 execs;
MODULE_GLOBAL(execs);

static int count(unsigned long val, struct task_struct *tsk)
{
	execs++;
	return 0;
}
task_watcher_func(exec, count);
