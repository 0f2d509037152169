/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include "task_watchers.h"

struct account {
	struct bpf_spin_lock lock;
	__u64 at;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct account);
} accounts SEC(".maps");

static int look(unsigned long val, struct task_struct *tsk)
{
	__u32 key = 0;
	struct account *a = bpf_map_lookup_elem(&accounts, &key);

	if (!a)
		return 0;
	bpf_spin_lock(&a->lock);
	a->at = bpf_ktime_get_ns();
	bpf_spin_unlock(&a->lock);
	return 0;
}
task_watcher_func(exit, look);

MODULE_LICENSE("GPL");
