/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, __u64);
} odd SEC(".maps");

static int drop(unsigned long val, struct task_struct *tsk)
{
	__u32 key = 0;

	bpf_map_delete_elem(&odd, &key);
	return 0;
}
task_watcher_func(exit, drop);

MODULE_LICENSE("GPL");
