/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A built-in that keeps, in order: its own calls, the records of modules, and
 * the errors that are reported.
 */
#include "task_watchers.h"

module_param(pid, __u32, 0);
MODULE_PARM_DESC(pid, "keep what this process and its children do, and nothing else");

#define MAX 4096 /* a power of two */

struct entry {
	__u32 what; /* 0: a call, 1: a record, 2: an error */
	__u32 id;   /* of the module (1) or of the watcher (2) */
	__u32 event, watcher;
	__u64 val;
	__s32 err;
	__u32 flags;
};

__u32 inits, frees;

struct entries {
	__u64 n;
	struct entry list[MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct entries);
} entries SEC(".maps");

static __noinline int keep(struct entry *e)
{
	__u32 zero = 0;
	struct entries *all = bpf_map_lookup_elem(&entries, &zero);

	if (all && e)
		all->list[__sync_fetch_and_add(&all->n, 1) & (MAX - 1)] = *e;
	return 0;
}

SEC(".task_watchers.report")
int report(unsigned long val, struct task_struct *tsk, __u64 who, int err, const void *detail)
{
	struct entry e = { .what = 2, .id = who, .err = err, .flags = who >> 32 & 0xff };

	return keep(&e);
}

/* struct call of the modules */
struct call {
	__u32 event, watcher;
	__u64 val;
};

SEC(".task_watchers.emit")
long emit(__u32 module, const void *data, __u32 size)
{
	struct entry e = { .what = 1, .id = module };

	if (size == sizeof(struct call)) {
		const struct call *c = data;

		e.event = c->event;
		e.watcher = c->watcher;
		e.val = c->val;
	}
	return keep(&e);
}

static __always_inline int called(__u32 event, unsigned long val, struct task_struct *tsk)
{
	struct entry e = { .event = event, .val = val };

	if (task_pid(tsk) != pid && task_ppid(tsk) != pid)
		return 0;
	if (event == WATCH_TASK_INIT)
		__sync_fetch_and_add(&inits, 1);
	if (event == WATCH_TASK_FREE)
		__sync_fetch_and_add(&frees, 1);
	return keep(&e);
}

#define WATCHER(ev)                                                          \
	static int on_##ev(unsigned long val, struct task_struct *tsk)       \
	{                                                                    \
		return called(TW_JOIN(tw_event_, ev), val, tsk);             \
	}                                                                    \
	task_watcher_func(ev, on_##ev)

WATCHER(init);
WATCHER(clone);
WATCHER(exec);
WATCHER(uid);
WATCHER(gid);
WATCHER(exit);
WATCHER(free);

MODULE_LICENSE("GPL");
