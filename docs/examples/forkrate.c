/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* forkrate: how many forks each cgroup has had, and a record when one has more than
 * `limit` in a second. */
#include "task_watchers.h"

module_param(limit, __u64, 1000);

struct rate {
	__u64 forks, second, in_second;
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct rate);
} cgroups SEC(".maps");

struct burst {
	__u64 cgroup, forks;
};

static int count(unsigned long flags, struct task_struct *tsk)
{
	struct rate none = {}, *r;
	__u64 id = task_cgroup_id(tsk), second = bpf_ktime_get_boot_ns() / 1000000000;

	bpf_map_update_elem(&cgroups, &id, &none, BPF_NOEXIST);
	r = bpf_map_lookup_elem(&cgroups, &id);
	if (!r)
		return 0;
	__sync_fetch_and_add(&r->forks, 1);
	if (r->second != second) { /* a fork beside this one may count for the old one */
		r->second = second;
		r->in_second = 0;
	}
	if (__sync_fetch_and_add(&r->in_second, 1) == limit) {
		struct burst b = {.cgroup = id, .forks = r->forks};

		task_watcher_emit_struct(&b);
	}
	return 0;
}
task_watcher_func(clone, count);

MODULE_DESCRIPTION("forks by cgroup");
MODULE_LICENSE("GPL");
