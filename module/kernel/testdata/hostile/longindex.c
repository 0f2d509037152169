/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u64);
} odd SEC(".maps");

static int look(unsigned long val, struct task_struct *tsk)
{
	__u64 key = 0;

	return bpf_map_lookup_elem(&odd, &key) ? 1 : 0;
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
