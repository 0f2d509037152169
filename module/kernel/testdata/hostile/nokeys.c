/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A lookup by key in a map that has none, where a result that may be NULL is still known. */
#include "task_watchers.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} keyed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 1);
	__type(value, __u32);
} seen SEC(".maps");

static int look(unsigned long code, struct task_struct *tsk)
{
	__u32 key = code, *value = bpf_map_lookup_elem(&keyed, &key);

	return bpf_map_lookup_elem(&seen, &key) && value;
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
