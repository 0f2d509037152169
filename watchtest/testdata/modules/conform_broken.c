/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One watcher more than the kernel takes: it does not look before it reads. */
#include "conform_few.c"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} values SEC(".maps");

static int careless(unsigned long val, struct task_struct *tsk)
{
	__u32 key = val, *value = bpf_map_lookup_elem(&values, &key);

	return *value;
}
task_watcher_func(exit, careless);
