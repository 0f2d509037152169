/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
	__uint(pinning, 1);
} kept SEC(".maps");

static int f(unsigned long val, struct task_struct *tsk)
{
	__u32 key = 0;

	bpf_map_delete_elem(&kept, &key);
	return 0;
}
task_watcher_func(exit, f);

MODULE_LICENSE("GPL");
