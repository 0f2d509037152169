/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A module that sends 6,000 records of 4 KiB at every exec by a child of one process. */
#include "task_watchers.h"

module_param(parent, __u32, 0);

#define FLOOD 6000

struct page {
	__u8 bytes[4096];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct page);
} pages SEC(".maps");

__u64 sent, refused;

static long send(__u32 i, void *ctx)
{
	__u32 zero = 0;
	struct page *p = bpf_map_lookup_elem(&pages, &zero);

	if (p && !task_watcher_emit(p, sizeof(*p)))
		__sync_fetch_and_add(&sent, 1);
	else
		__sync_fetch_and_add(&refused, 1);
	return 0;
}

static int flood(unsigned long val, struct task_struct *tsk)
{
	if ((__u32)task_ppid(tsk) == parent)
		bpf_loop(FLOOD, send, 0, 0);
	return 0;
}
task_watcher_func(exec, flood);

MODULE_LICENSE("Dual BSD/GPL");
