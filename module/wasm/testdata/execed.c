/* execed: which execs it was asked about, and which have succeeded, in the order of the calls. */
#include "task_watchers.h"

static int ask(unsigned long val, struct task_struct *tsk)
{
	task_watcher_emit("asked", 5);
	return 0;
}
task_watcher_func(exec, ask);
MODULE_VETO(exec);

static int learn(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char exe[8];
	int n = task_exec_path(tsk, bprm, exe, sizeof(exe));

	task_watcher_emit(exe, n);
	return -TW_EAGAIN;
}
task_execed_watcher_func(learn);

static int end(unsigned long val, struct task_struct *tsk)
{
	task_watcher_emit("exit", 4);
	return 0;
}
task_watcher_func(exit, end);
