/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* sessions: how many programs each login session has run; 4294967295 is none. */
#include "task_watchers.h"

struct session {
	__u64 execs;
	__u32 auid; /* who logged in */
	char last[16];
};
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct session);
} sessions SEC(".maps");

static int count(unsigned long val, struct task_struct *tsk)
{
	__u32 id = task_sessionid(tsk);
	struct session first = {.auid = task_auid(tsk)}, *s;

	bpf_map_update_elem(&sessions, &id, &first, BPF_NOEXIST);
	s = bpf_map_lookup_elem(&sessions, &id);
	if (!s)
		return 0;
	__sync_fetch_and_add(&s->execs, 1);
	task_comm(tsk, s->last);
	return 0;
}
task_watcher_func(exec, count);

MODULE_DESCRIPTION("execs by login session");
MODULE_LICENSE("GPL");
