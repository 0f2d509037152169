/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Keeps a list of what it did when pid forked, and sends a record when a child exits. */
#include "task_watchers.h"

module_param(pid, __u32, 0);

struct list {
	__u32 n;
	__u32 tags[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct list);
} lists SEC(".maps");

static __noinline int append(struct task_struct *tsk, __u32 what)
{
	__u32 zero = 0;
	struct list *l = bpf_map_lookup_elem(&lists, &zero);

	if (l && task_ppid(tsk) == pid && l->n < 64)
		l->tags[l->n++] = what;
	return 0;
}

static int first(unsigned long val, struct task_struct *tsk) { return append(tsk, 0); }
task_watcher_func(clone, first);

static int second(unsigned long val, struct task_struct *tsk)
{
	append(tsk, 1);
	return task_ppid(tsk) == pid ? -5 : 0;
}
task_watcher_func(clone, second);

static int third(unsigned long val, struct task_struct *tsk) { return append(tsk, 2); }
task_watcher_func(clone, third);

static int leave(unsigned long val, struct task_struct *tsk)
{
	__u64 code = val;

	if (task_ppid(tsk) == pid)
		task_watcher_emit(&code, sizeof(code));
	return 0;
}
task_watcher_func(exit, leave);

MODULE_LICENSE("GPL");
