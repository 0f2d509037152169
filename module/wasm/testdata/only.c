/*
 * only: says that it reads only what it names, and looks at the rest, too.
 */
#include "task_watchers.h"

MODULE_READS_ONLY();
MODULE_READS(rusage_maxrss_bytes);

int code, exe, cwd, cgroup;
MODULE_GLOBAL(code);
MODULE_GLOBAL(exe);
MODULE_GLOBAL(cwd);
MODULE_GLOBAL(cgroup);
__u32 argc, uid;
MODULE_GLOBAL(argc);
MODULE_GLOBAL(uid);
__u64 cpu, maxrss, minflt, missing;
MODULE_GLOBAL(cpu);
MODULE_GLOBAL(maxrss);
MODULE_GLOBAL(minflt);
MODULE_GLOBAL(missing);

static int look(unsigned long val, struct task_struct *tsk)
{
	char buf[64];

	code = tsk->exit_code;
	uid = task_uid(tsk);
	exe = task_exe(tsk, buf, sizeof(buf));
	cpu = task_cpu_ns(tsk);
	maxrss = tsk->maxrss;
	missing = tsk->missing;

	/* What it does not name. */
	cwd = tw_string(TASK_STRING_CWD, 0, buf, sizeof(buf));
	cgroup = tw_string(TASK_STRING_CGROUP, 0, buf, sizeof(buf));
	argc = tsk->argc;
	minflt = tsk->minflt;
	return 0;
}
task_watcher_func(exit, look);
MODULE_LICENSE("GPL");
