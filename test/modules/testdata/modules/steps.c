/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The steps that the execs of one group's tasks go through, and the files there. */
#include "task_watchers.h"

module_param(gid, __u32, ~0u);
module_param_string(file0, 80, "");
module_param_string(file1, 80, "");
module_param_string(file2, 80, "");
module_param_string(denied, 80, "");

__u64 calls, execs;
__u64 sequence; /* of the last exec: 1, 11, 112, ... */
__u64 same;     /* of its steps, those at which the file is the one expected, as bits */

static int look(unsigned long step, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char path[80];

	if (task_gid(tsk) != gid)
		return 0;
	calls++;
	sequence = step ? sequence * 10 + step : 1;
	file_path(tsk, kernel_read(bprm->file), path, sizeof(path));
	if (!step)
		same = 0;
	if (step == 0 && task_string_is(path, sizeof(path), file0))
		same |= 1;
	if (step == 1 && task_string_is(path, sizeof(path), file1))
		same |= 2;
	if (step == 2 && task_string_is(path, sizeof(path), file2))
		same |= 4;
	return denied[0] && task_string_is(path, sizeof(path), denied) ? -TW_EACCES : 0;
}
task_step_watcher_func(look);

static int count(unsigned long val, struct task_struct *tsk)
{
	if (task_gid(tsk) == gid)
		execs++;
	return 0;
}
task_watcher_func(execed, count);

MODULE_VETO(exec);
MODULE_LICENSE("GPL");
