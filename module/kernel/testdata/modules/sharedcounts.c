/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sharedcounts: execs, in a map that several modules have. */
#include "task_watchers.h"

struct count {
	__u64 execs;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct count);
} counts SEC(".maps");
MODULE_SHARED(counts);

static int add(unsigned long val, struct task_struct *tsk)
{
	struct count none = {}, *c;
	__u32 one = 1;

	bpf_map_update_elem(&counts, &one, &none, BPF_NOEXIST);
	c = bpf_map_lookup_elem(&counts, &one);
	if (c)
		__sync_fetch_and_add(&c->execs, 1);
	return 0;
}
task_watcher_func(exec, add);

MODULE_LICENSE("GPL");
