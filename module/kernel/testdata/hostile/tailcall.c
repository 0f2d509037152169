/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

static long (*const bpf_tail_call)(void *ctx, void *map, __u32 index) = (void *)12;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} progs SEC(".maps");

static int f(unsigned long val, struct task_struct *tsk)
{
	bpf_tail_call(tsk, &progs, 0);
	return 0;
}
task_watcher_func(exit, f);

MODULE_LICENSE("GPL");
