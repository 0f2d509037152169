/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counts the steps of interpreters, and those that are said to be programs', and takes
 * its time for each. With its maps two of it are too much for one program.
 */
#include "task_watchers.h"

#define MAP(n)                                                                               \
	struct {                                                                             \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                            \
		__uint(max_entries, 1);                                                      \
		__type(key, __u32);                                                          \
		__type(value, __u64);                                                        \
	} map##n SEC(".maps");
#define LOOK(n)                                                                              \
	if (!bpf_map_lookup_elem(&map##n, &key))                                             \
		return -TW_EPERM;
#define TEN(DO, n) DO(n##0) DO(n##1) DO(n##2) DO(n##3) DO(n##4) DO(n##5) DO(n##6) DO(n##7) DO(n##8) DO(n##9)
#define THIRTY(DO) TEN(DO, 1) TEN(DO, 2) TEN(DO, 3)

THIRTY(MAP)

__u64 seen, unknown, mistaken;

static int look(unsigned long step, struct task_struct *tsk, struct linux_binprm *bprm)
{
	__u64 start = bpf_ktime_get_ns();
	__u32 key = 0;

	THIRTY(LOOK)
	if (!task_exec_script(bprm))
		return 0;
	__sync_fetch_and_add(&seen, 1);
	if (!step)
		__sync_fetch_and_add(&mistaken, 1);
	else if (step == TASK_STEP_UNKNOWN)
		__sync_fetch_and_add(&unknown, 1);
	for (int i = 0; i < 4000; i++)
		if (bpf_ktime_get_ns() - start >= 300000)
			break;
	return 0;
}
task_step_watcher_func(look);

MODULE_VETO(exec);
MODULE_LICENSE("GPL");
