/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What execs of one group's tasks are about: of the last one, and of all. */
#include "task_watchers.h"

module_param(gid, __u32, ~0u);
#if defined(DECIDED) && defined(__bpf__)
module_param(again, bool, false);
#define LEFT_OUT(bprm) (task_exec_decided(bprm) || task_exec_script(bprm) != again)
#else
#define LEFT_OUT(bprm) 0
#endif
module_param_string(want, 64, "");
module_param_string(below, 64, "");

char path[512], zero[512], first[512], second[512], cwd[512], begin[8];
MODULE_GLOBAL(path);
MODULE_GLOBAL(zero);
MODULE_GLOBAL(first);
MODULE_GLOBAL(second);
MODULE_GLOBAL(cwd);
MODULE_GLOBAL(begin);
__s64 execs, argc, lengths, is_want, is_below, missing;
MODULE_GLOBAL(execs);
MODULE_GLOBAL(argc);
MODULE_GLOBAL(lengths);
MODULE_GLOBAL(is_want);
MODULE_GLOBAL(is_below);
MODULE_GLOBAL(missing);

static int copy(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	if (task_gid(tsk) != gid || LEFT_OUT(bprm))
		return 0;
	lengths = task_exec_path(tsk, bprm, path, sizeof(path));
	lengths += task_cwd(tsk, cwd, sizeof(cwd));
	lengths += task_exec_path(tsk, bprm, begin, sizeof(begin));
	return 0;
}
task_exec_watcher_func(copy);

static int arguments(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char few[4];

	if (task_gid(tsk) != gid || LEFT_OUT(bprm))
		return 0;
	argc = task_exec_argc(tsk, bprm);
	task_exec_arg(tsk, bprm, 0, zero, sizeof(zero));
	task_exec_arg(tsk, bprm, 1, first, sizeof(first));
	task_exec_arg(tsk, bprm, 2, second, sizeof(second));
	missing = task_exec_arg(tsk, bprm, 3, few, sizeof(few)) == -TW_ENOENT;
	return 0;
}
task_exec_watcher_func(arguments);

static int compare(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char buf[80];

	if (task_gid(tsk) != gid || LEFT_OUT(bprm))
		return 0;
	task_exec_path(tsk, bprm, buf, sizeof(buf));
	is_want = task_string_is(buf, sizeof(buf), want);
	is_below = task_string_begins(buf, sizeof(buf), below);
	execs++;
	return 0;
}
task_exec_watcher_func(compare);

MODULE_LICENSE("GPL");
