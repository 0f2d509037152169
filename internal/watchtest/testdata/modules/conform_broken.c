/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One watcher more than can be had: the kernel sees that it does not look
 * before it reads, the sandbox that it takes no task. */
#include "conform_few.c"

#ifdef __wasm__
TW_EXPORT("__task_watcher_exit_careless") int careless(__u64 val) { return val; }
#else
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
#endif
