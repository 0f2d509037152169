/*
 * mirror: sends the record that it gets, or the string that was asked for,
 * back.
 */
#include "task_watchers.h"

module_param(string, int, -1);
module_param(index, __u32, 0);
module_param(size, __u32, 4096);

int length;
MODULE_GLOBAL(length);
static char buf[8192];

static int mirror(unsigned long val, struct task_struct *tsk)
{
	__u32 n = 0;

	if (string < 0)
		return task_watcher_emit(tsk, sizeof(*tsk));
	length = tw_string(string, index, buf, size);
	while (length >= 0 && buf[n])
		n++;
	return task_watcher_emit(buf, n);
}
task_watcher_func(init, mirror);
task_watcher_func(clone, mirror);
task_watcher_func(exec, mirror);
task_watcher_func(uid, mirror);
task_watcher_func(gid, mirror);
task_watcher_func(exit, mirror);
task_watcher_func(free, mirror);
