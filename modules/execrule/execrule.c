/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * execrule: denies execs by their program and their arguments, in the
 * sandbox, where the arguments can be read:
 *
 *	taskwatch module build modules/execrule/execrule.c -o execrule.wasm
 *	taskwatch run -m execrule.wasm,program=/usr/bin/git,arg=--force -- make
 *
 * It stops mistakes; it is no security boundary. See docs/modules/execrule.md.
 */
#include "task_watchers.h"

#define PROGRAM_MAX 256
#define ARG_MAX 128

module_param_string(program, 256, ""); /* PROGRAM_MAX */
MODULE_PARM_DESC(program, "deny the program with this absolute path; with / at its end, all programs below this directory");
module_param_string(arg, 128, ""); /* ARG_MAX */
MODULE_PARM_DESC(arg, "deny execs with this argument; together with a program, both must match");
module_param(errno, int, TW_EACCES);
MODULE_PARM_DESC(errno, "the error with which a denied exec fails");

__u64 asked, refused;
MODULE_GLOBAL(asked);
MODULE_GLOBAL(refused);

static __u32 length(const volatile char *s)
{
	__u32 n = 0;

	while (s[n])
		n++;
	return n;
}

/* begins - whether s begins with those n bytes */
static bool begins(const char *s, const volatile char *with, __u32 n)
{
	for (__u32 i = 0; i < n; i++)
		if (s[i] != with[i])
			return false;
	return true;
}

static bool program_fits(struct task_struct *tsk)
{
	static char exe[PROGRAM_MAX];
	__u32 n = length(program);
	int have = task_exe(tsk, exe, sizeof(exe));

	if (have < 0 || (__u32)have < n || !begins(exe, program, n))
		return false;
	return (__u32)have == n || program[n - 1] == '/';
}

static bool argument_fits(struct task_struct *tsk)
{
	static char have[ARG_MAX];
	__u32 n = length(arg);

	for (__u32 i = 1; i < tsk->argc; i++)
		if (task_argv(tsk, i, have, sizeof(have)) == (int)n && begins(have, arg, n))
			return true;
	return false;
}

static int decide(unsigned long val, struct task_struct *tsk)
{
	asked++;
	if (!program[0] && !arg[0])
		return 0;
	if ((program[0] && !program_fits(tsk)) || (arg[0] && !argument_fits(tsk)))
		return 0;
	refused++;
	return -errno;
}
task_watcher_func(exec, decide);

MODULE_READS_ONLY();
MODULE_VETO(exec);
MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("denies execs by program and argument");
