/*
 * count: a module of the days when a record had 272 bytes. count.wasm beside it
 * was built then, and is never built again: modules that people have must go on
 * working.
 */
#include "task_watchers.h"

__u64 execs, exits, failed, seq, cpu;
MODULE_GLOBAL(execs);
MODULE_GLOBAL(exits);
MODULE_GLOBAL(failed);
MODULE_GLOBAL(seq);
MODULE_GLOBAL(cpu);
__u32 size, uid;
MODULE_GLOBAL(size);
MODULE_GLOBAL(uid);
char comm[16], exe[64], arg[64];
MODULE_GLOBAL(comm);
MODULE_GLOBAL(exe);
MODULE_GLOBAL(arg);
bool no_cwd;
MODULE_GLOBAL(no_cwd);

static int executed(unsigned long val, struct task_struct *tsk)
{
	execs++;
	size = tsk->size;
	seq = tsk->seq;
	uid = task_uid(tsk);
	task_comm(tsk, comm);
	task_exe(tsk, exe, sizeof(exe));
	task_argv(tsk, 1, arg, sizeof(arg));
	no_cwd = task_missing(tsk, TASK_FIELD_CWD);
	return 0;
}
task_watcher_func(exec, executed);

static int exited(unsigned long val, struct task_struct *tsk)
{
	exits++;
	if (tsk->exit_code || tsk->exit_signal)
		failed++;
	cpu += task_cpu_ns(tsk);
	return 0;
}
task_watcher_func(exit, exited);

MODULE_LICENSE("GPL");
