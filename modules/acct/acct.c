/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * acct: what each user's tasks did since the module was loaded, in the map
 * `users`, by real user id.
 *
 * CPU time is added when a task is freed: only then is it complete. So are the
 * times that it had to wait, in the map `waits`, where the kernel counts them: with
 * kernel.task_delayacct=1, for the tasks that were made since.
 */
#include "task_watchers.h"

struct usage {
	__u64 forks;   /* tasks started */
	__u64 execs;
	__u64 exits;
	__u64 killed;  /* of the exits, those by a signal */
	__u64 cpu_ns;  /* of the tasks that are gone */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct usage);
} users SEC(".maps");

struct wait {
	__u64 tasks;     /* of which the kernel has counted the times, and which are gone */
	__u64 blkio_ns;  /* for block devices */
	__u64 swapin_ns; /* for pages to be swapped in */
	__u64 cpu_ns;    /* for a processor */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct wait);
} waits SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_delay_info___acct {
	__u64 blkio_delay, swapin_delay;
};
struct sched_info___acct {
	unsigned long long run_delay;
};
struct task_struct___acct {
	struct task_delay_info___acct *delays; /* NULL where it counts none of this task */
	struct sched_info___acct sched_info;
};
#pragma clang attribute pop

__u64 dropped; /* events of users that the map had no room for */

static __always_inline struct usage *usage_of(struct task_struct *tsk)
{
	static const struct usage none;
	__u32 uid = task_uid(tsk);
	struct usage *u = bpf_map_lookup_elem(&users, &uid);

	if (!u) {
		bpf_map_update_elem(&users, &uid, &none, BPF_NOEXIST);
		u = bpf_map_lookup_elem(&users, &uid);
	}
	if (!u)
		__sync_fetch_and_add(&dropped, 1);
	return u;
}

static int forked(unsigned long flags, struct task_struct *tsk)
{
	struct usage *u = usage_of(tsk);

	if (u)
		__sync_fetch_and_add(&u->forks, 1);
	return 0;
}
task_watcher_func(clone, forked);

static int executed(unsigned long zero, struct task_struct *tsk)
{
	struct usage *u = usage_of(tsk);

	if (u)
		__sync_fetch_and_add(&u->execs, 1);
	return 0;
}
task_watcher_func(exec, executed);

static int exited(unsigned long code, struct task_struct *tsk)
{
	struct usage *u = usage_of(tsk);

	if (!u)
		return 0;
	__sync_fetch_and_add(&u->exits, 1);
	if (code & 0x7f)
		__sync_fetch_and_add(&u->killed, 1);
	return 0;
}
task_watcher_func(exit, exited);

/* waited - add what a task has waited; not a part of its caller, where no such field may be */
static __noinline int waited(struct task_struct *tsk)
{
	static const struct wait none;
	struct task_struct___acct *t = (void *)tsk;
	struct task_delay_info___acct *delays;
	__u32 uid = task_uid(tsk);
	struct wait *w;

	if (!kernel_has(struct task_struct___acct, delays))
		return 0;
	delays = t->delays;
	if (!delays)
		return 0;
	w = bpf_map_lookup_elem(&waits, &uid);
	if (!w) {
		bpf_map_update_elem(&waits, &uid, &none, BPF_NOEXIST);
		w = bpf_map_lookup_elem(&waits, &uid);
	}
	if (!w) {
		__sync_fetch_and_add(&dropped, 1);
		return 0;
	}
	__sync_fetch_and_add(&w->tasks, 1);
	__sync_fetch_and_add(&w->blkio_ns, delays->blkio_delay);
	__sync_fetch_and_add(&w->swapin_ns, delays->swapin_delay);
	__sync_fetch_and_add(&w->cpu_ns, t->sched_info.run_delay);
	return 0;
}

static int freed(unsigned long code, struct task_struct *tsk)
{
	struct usage *u;

	if (!tsk->exit_state)
		return 0; /* its fork failed */
	u = usage_of(tsk);
	if (u)
		__sync_fetch_and_add(&u->cpu_ns, task_cpu_ns(tsk));
	waited(tsk);
	return 0;
}
task_watcher_func(free, freed);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("counts and CPU time per user");
