/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lifecheck: checks that the events of each task come in an order that can be:
 * init, clone, any of exec, uid and gid, exit, free; or init and free, if the fork
 * has failed. An event that cannot come then, a task that is made twice, and one
 * that was never freed are counted, and reported with what came before.
 *
 * Hooks are attached one after another, so early events of a task may have come
 * before there was a hook to hear them. That is no error: a task is judged if the
 * hooks had been heard of when it was made (JUDGED).
 */
#include "task_watchers.h"

module_param(frees, bool, true);
MODULE_PARM_DESC(frees, "report tasks that are never freed; n where the kernel does not report every free");

/* What has last come to a task. */
enum { UNKNOWN, MADE, RUNNING, ENDED, FREED };

#define JUDGED 1

struct life {
	__u64 history; /* its last 16 events, four bits each: 1 + the event */
	__u32 tid;     /* 0 before clone */
	__u32 pid;
	__u32 state;
	__u32 flags;
};

/* By the address of the task. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, __u64);
	__type(value, struct life);
} lives SEC(".maps");

/* Those of tasks freed not long ago, so that an event that follows is seen. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct life);
} ended SEC(".maps");

__u64 checked;    /* events that were compared with those before */
__u64 adopted;    /* tasks met in the middle of their lives */
__u64 impossible; /* events that cannot come then */
__u64 twice;      /* tasks that were made while they lived */
__u64 leaked;     /* tasks that had ended and were never freed */
__u64 full;       /* tasks that a map had no room for */
__u64 dropped;    /* reports that the stream had no room for */
__u32 heard;      /* bits of the events that have come */

#define EVENT(ev) (1u << (ev))

static const char problems[4][12] = { "impossible", "twice", "leaked" };
static const char before[8][8] = { "", "init ", "clone ", "exec ", "uid ", "gid ", "exit ", "free " };
static const char last[8][8] = { "", "init", "clone", "exec", "uid", "gid", "exit", "free" };

#define NAME(table, history, back) ((__u64)(unsigned long)(table)[(history) >> 4 * (back) & 7])

/* report - send a problem and the last six events, of which the last is at fault */
static __noinline int report(const struct life *l, __u32 problem)
{
	static const char format[] = "{\"problem\":\"%s\",\"tid\":%u,\"pid\":%u,\"history\":\"%s%s%s%s%s%s\"}";
	__u64 h = l->history;
	__u64 args[] = {
		(__u64)(unsigned long)problems[problem & 3], l->tid, l->pid,
		NAME(before, h, 5), NAME(before, h, 4), NAME(before, h, 3), NAME(before, h, 2), NAME(before, h, 1), NAME(last, h, 0),
	};
	char text[112]; /* all watchers of an event have 512 bytes of stack together */
	long n;

	__builtin_memset(text, ' ', sizeof(text)); /* JSON may end in blanks */
	n = bpf_snprintf(text, sizeof(text), format, args, sizeof(args));
	if (n > 0 && n <= (long)sizeof(text))
		text[n - 1] = ' ';
	if (task_watcher_emit(text, sizeof(text)))
		__sync_fetch_and_add(&dropped, 1);
	return 0;
}

static __always_inline void begin(struct task_struct *tsk)
{
	__u64 key = (__u64)(unsigned long)tsk;
	struct life new = { .state = MADE }, *l = bpf_map_lookup_elem(&lives, &key);
	__u32 hooks = EVENT(WATCH_TASK_INIT) | EVENT(WATCH_TASK_CLONE) | EVENT(WATCH_TASK_EXIT);

	if (frees)
		hooks |= EVENT(WATCH_TASK_FREE);
	if ((heard & hooks) == hooks)
		new.flags = JUDGED;
	/* A task that has failed to fork, or has ended, may still be there if its free was not told. */
	if (l && l->flags & JUDGED && (frees || l->state == RUNNING)) {
		l->history = l->history << 4 | 1 + WATCH_TASK_INIT;
		__sync_fetch_and_add(l->state == ENDED ? &leaked : &twice, 1);
		report(l, l->state == ENDED ? 2 : 1);
	}
	new.history = 1 + WATCH_TASK_INIT;
	bpf_map_delete_elem(&ended, &key);
	if (bpf_map_update_elem(&lives, &key, &new, BPF_ANY))
		__sync_fetch_and_add(&full, 1);
}

/* creator_is_judged - whether an init must have been heard of a task that is cloned now */
static __always_inline bool creator_is_judged(void)
{
	__u64 key = (__u64)(unsigned long)bpf_get_current_task_btf();
	struct life *l = bpf_map_lookup_elem(&lives, &key);

	return l && l->flags & JUDGED;
}

/* advance - take an event other than init */
static __always_inline int advance(struct task_struct *tsk, __u32 event)
{
	__u64 key = (__u64)(unsigned long)tsk;
	struct life *l = bpf_map_lookup_elem(&lives, &key);
	struct life copy = {};
	bool possible;

	if (!(heard & EVENT(event)))
		__sync_fetch_and_or(&heard, EVENT(event));
	if (!l) { /* freed before, or from before the module */
		l = bpf_map_lookup_elem(&ended, &key);
		if (!l) {
			if (event == WATCH_TASK_FREE)
				return 0;
			__sync_fetch_and_add(&adopted, 1);
			copy.flags = event == WATCH_TASK_CLONE && creator_is_judged() ? JUDGED : 0;
			if (bpf_map_update_elem(&lives, &key, &copy, BPF_NOEXIST))
				__sync_fetch_and_add(&full, 1);
			l = bpf_map_lookup_elem(&lives, &key);
			if (!l)
				return 0;
		}
	}
	switch (event) {
	case WATCH_TASK_CLONE:
		possible = l->state == MADE;
		break;
	case WATCH_TASK_FREE:
		possible = l->state == ENDED || (l->state == MADE && !tsk->exit_state);
		break;
	default:
		possible = l->state == RUNNING;
	}
	l->history = l->history << 4 | (1 + event);
	if (!l->tid || event == WATCH_TASK_EXEC) { /* a thread may have become the first */
		l->tid = tsk->pid;
		l->pid = tsk->tgid;
	}
	__sync_fetch_and_add(&checked, 1);
	if (!possible && l->flags & JUDGED) {
		__sync_fetch_and_add(&impossible, 1);
		report(l, 0);
	}
	if (event == WATCH_TASK_FREE) {
		copy = *l;
		copy.state = FREED;
		bpf_map_update_elem(&ended, &key, &copy, BPF_ANY);
		bpf_map_delete_elem(&lives, &key);
	} else {
		l->state = event == WATCH_TASK_EXIT ? ENDED : RUNNING;
	}
	return 0;
}

static int made(unsigned long flags, struct task_struct *tsk)
{
	if (!(heard & EVENT(WATCH_TASK_INIT)))
		__sync_fetch_and_or(&heard, EVENT(WATCH_TASK_INIT));
	begin(tsk);
	return 0;
}
task_watcher_func(init, made);

static int cloned(unsigned long flags, struct task_struct *tsk)
{
	return advance(tsk, WATCH_TASK_CLONE);
}
task_watcher_func(clone, cloned);

static int executed(unsigned long zero, struct task_struct *tsk)
{
	return advance(tsk, WATCH_TASK_EXEC);
}
task_watcher_func(exec, executed);

static int uid_changed(unsigned long zero, struct task_struct *tsk)
{
	return advance(tsk, WATCH_TASK_UID);
}
task_watcher_func(uid, uid_changed);

static int gid_changed(unsigned long zero, struct task_struct *tsk)
{
	return advance(tsk, WATCH_TASK_GID);
}
task_watcher_func(gid, gid_changed);

static int exited(unsigned long code, struct task_struct *tsk)
{
	return advance(tsk, WATCH_TASK_EXIT);
}
task_watcher_func(exit, exited);

static int freed(unsigned long code, struct task_struct *tsk)
{
	return advance(tsk, WATCH_TASK_FREE);
}
task_watcher_func(free, freed);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("checks the order of each task's events");
