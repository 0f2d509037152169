/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A watcher with 60 maps: more than a program may have, with what it needs itself. */
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
#define SIXTY(DO) TEN(DO, 1) TEN(DO, 2) TEN(DO, 3) TEN(DO, 4) TEN(DO, 5) TEN(DO, 6)

SIXTY(MAP)

static int many(unsigned long val, struct task_struct *tsk)
{
	__u32 key = 0;

	SIXTY(LOOK)
	return 0;
}
task_watcher_func(exit, many);

MODULE_LICENSE("GPL");
