/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* argrule: the program PROGRAM does not run with the argument ARG. It stops mistakes;
 * see docs/modules.md for why it stops no attacker. */
#include "task_watchers.h"

module_param_string(program, 63, "/usr/bin/git");
module_param_string(arg, 63, "--force");

__u64 matched;
MODULE_GLOBAL(matched);

static int check(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	char text[64]; /* more than the parameters have: a longer text differs */

	task_exec_path(tsk, bprm, text, sizeof(text));
	if (!task_string_is(text, sizeof(text), program))
		return 0;
	for (int i = 1; i < 8; i++) {
		if (task_exec_arg(tsk, bprm, i, text, 64) < 0)
			break;
		if (task_string_is(text, 64, arg)) {
			__sync_fetch_and_add(&matched, 1);
			return -TW_EPERM;
		}
	}
	return 0;
}
task_exec_watcher_func(check);

MODULE_READS_ONLY();
MODULE_VETO(exec);
MODULE_DESCRIPTION("denies a program with an argument");
MODULE_LICENSE("GPL");
