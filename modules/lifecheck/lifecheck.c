/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lifecheck: checks that the events of each task come in an order that can be:
 * init, clone, any of exec, uid and gid, exit, free; or init and free, if the fork
 * has failed. An event that cannot come then, a task that is made twice, and one
 * that was never freed are counted, and reported with what came before.
 *
 * Where it takes the place of another module, hooks go over to it one after another,
 * so early events of a task may have come before it could hear them. That is no error:
 * a task is judged if the hooks had been heard of when it was made (JUDGED).
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

/*
 * By the address of the task. The kernel gives the memory of a task that it has freed to
 * the next one, so an entry stays when its task is freed, and the next one takes it over:
 * that is quicker than to delete it and to make another.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, __u64);
	__type(value, struct life);
} lives SEC(".maps");

/* How many of freed tasks may stay. Their memory may have become that of something else. */
#ifndef KEPT_MAX
#define KEPT_MAX 32768
#endif

/* Those of tasks freed not long ago that could not stay, so that an event that follows is seen. */
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

static int kept;     /* entries of freed tasks; where this module has taken over those of another, fewer */
static bool spilled; /* ended has been written to */

#define EVENT(ev) (1u << (ev))

enum { IMPOSSIBLE, TWICE, LEAKED };

static const char problems[4][12] = { "impossible", "twice", "leaked" };
static const char names[8][6] = { "", "init", "clone", "exec", "uid", "gid", "exit", "free" };

/* What is reported of an event: it arrives as JSON. */
struct report {
	__u32 tid;
	__u32 pid;
	char problem[12];
	char event[6];
	char after[5][6]; /* the events before, the last one first */
};

/*
 * All watchers of an event have 512 bytes of stack together, those of the source
 * included: here alone it is needed.
 */
static __noinline int report(const struct life *l, __u32 problem)
{
	struct report r = { .tid = l->tid, .pid = l->pid };

	__builtin_memcpy(r.problem, problems[problem & 3], sizeof(r.problem));
	__builtin_memcpy(r.event, names[l->history & 7], sizeof(r.event));
	for (int i = 0; i < 5; i++)
		__builtin_memcpy(r.after[i], names[l->history >> 4 * (i + 1) & 7], sizeof(r.after[i]));
	if (task_watcher_emit_struct(&r))
		__sync_fetch_and_add(&dropped, 1);
	return 0;
}

/* The life of a task of which nothing is known. */
static const struct life unknown;

static __always_inline void begin(struct task_struct *tsk)
{
	__u64 key = (__u64)(unsigned long)tsk;
	struct life *l = bpf_map_lookup_elem(&lives, &key);
	struct life first = { .history = 1 + WATCH_TASK_INIT, .state = MADE };
	__u32 hooks = EVENT(WATCH_TASK_INIT) | EVENT(WATCH_TASK_CLONE) | EVENT(WATCH_TASK_EXIT);

	if (frees)
		hooks |= EVENT(WATCH_TASK_FREE);
	first.flags = (heard & hooks) == hooks ? JUDGED : 0;
	if (!l) {
		if (spilled)
			bpf_map_delete_elem(&ended, &key);
		if (bpf_map_update_elem(&lives, &key, &first, BPF_ANY))
			__sync_fetch_and_add(&full, 1);
		return;
	}
	/* A task that has failed to fork, or has ended, may still be there if its free was not told. */
	if (l->state == FREED) {
		if (kept > 0)
			__sync_fetch_and_add(&kept, -1);
	} else if (l->flags & JUDGED && (frees || l->state == RUNNING)) {
		l->history = l->history << 4 | 1 + WATCH_TASK_INIT;
		__sync_fetch_and_add(l->state == ENDED ? &leaked : &twice, 1);
		report(l, l->state == ENDED ? LEAKED : TWICE);
	}
	*l = first;
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
	bool possible;

	if (!(heard & EVENT(event)))
		__sync_fetch_and_or(&heard, EVENT(event));
	if (l && event == WATCH_TASK_CLONE && l->state == FREED) {
		/* Another task is at the address, whose init the kernel has skipped: one event too
		 * few, and not all that follow too many. */
		__sync_fetch_and_add(&adopted, 1);
		if (kept > 0)
			__sync_fetch_and_add(&kept, -1);
		*l = unknown;
		if (creator_is_judged())
			l->flags = JUDGED;
	}
	if (!l) { /* freed before and did not stay, or from before the module */
		l = bpf_map_lookup_elem(&ended, &key);
		if (l && event == WATCH_TASK_CLONE) {
			bpf_map_delete_elem(&ended, &key);
			l = 0;
		}
		if (!l) {
			if (event == WATCH_TASK_FREE)
				return 0;
			__sync_fetch_and_add(&adopted, 1);
			bpf_map_update_elem(&lives, &key, &unknown, BPF_NOEXIST);
			l = bpf_map_lookup_elem(&lives, &key);
			if (!l) {
				__sync_fetch_and_add(&full, 1);
				return 0;
			}
			if (event == WATCH_TASK_CLONE && creator_is_judged())
				l->flags = JUDGED;
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
		report(l, IMPOSSIBLE);
	}
	if (l->state == FREED) /* and stays so */
		return 0;
	if (event != WATCH_TASK_FREE) {
		l->state = event == WATCH_TASK_EXIT ? ENDED : RUNNING;
		return 0;
	}
	l->state = FREED;
	if (kept < KEPT_MAX) {
		__sync_fetch_and_add(&kept, 1);
		return 0;
	}
	spilled = true;
	bpf_map_update_elem(&ended, &key, l, BPF_ANY);
	bpf_map_delete_elem(&lives, &key);
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
