/*
 * reads: asks for optional fields, and for the program of the parent, by using the
 * functions of the header, or by name.
 */
#include "task_watchers.h"

char tty[16], parent[64];
MODULE_GLOBAL(tty);
MODULE_GLOBAL(parent);
__u32 auid, sessionid;
MODULE_GLOBAL(auid);
MODULE_GLOBAL(sessionid);
int sid, nice, length;
MODULE_GLOBAL(sid);
MODULE_GLOBAL(nice);
MODULE_GLOBAL(length);
bool missing;
MODULE_GLOBAL(missing);

MODULE_READS(nice);

static int look(unsigned long val, struct task_struct *tsk)
{
	auid = task_auid(tsk);
	sessionid = task_sessionid(tsk);
	sid = task_sid(tsk);
	task_tty(tsk, tty, sizeof(tty));
	nice = tsk->nice;
	length = task_parent_exe(tsk, parent, sizeof(parent));
	missing = task_missing(tsk, TASK_FIELD_NICE);
	return 0;
}
task_watcher_func(exec, look);
task_watcher_func(exit, look);
MODULE_VETO(exec);
MODULE_LICENSE("GPL");
