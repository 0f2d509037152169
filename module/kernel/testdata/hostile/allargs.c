/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static int look(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char text[32];

	for (int i = 0; i < task_exec_argc(tsk, bprm); i++)
		if (task_exec_arg(tsk, bprm, i, text, sizeof(text)) > 0 && task_string_is(text, sizeof(text), "--force"))
			return -TW_EPERM;
	return 0;
}
task_exec_watcher_func(look);

MODULE_LICENSE("GPL");
