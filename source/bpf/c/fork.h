/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* init and clone. */
#ifndef TASKWATCH_STREAM_FORK_H
#define TASKWATCH_STREAM_FORK_H

#include "cgroup.h"
#include "dir.h"
#include "extra.h"
#include "fill.h"
#include "ring.h"
#include "scope.h"

/* Set before the load: at init a task has no place in a cgroup yet. */
const volatile u32 init_early;

/*
 * init comes so early, where it can be denied, that the new task is not told
 * from its creator by more than its address and its credentials.
 */
watcher(init)(unsigned long flags, struct task_struct *tsk)
{
	struct task_struct *creator = bpf_get_current_task_btf();
	struct task_struct *placed = init_early ? creator : tsk; /* where it has a cgroup */
	struct tw_rec *r;
	u64 cgroup, dir;

	leaves_address(tsk);
	if (scope == SCOPE_TREE) {
		if (!is_marked(creator) && (u32)creator->pid != control.seed_tid)
			return 0;
		mark(tsk, MARK_AT_INIT);
	} else if (!born_in_scope(creator, tsk, placed, MARK_AT_INIT)) {
		return 0;
	}
	cgroup = name_cgroup(placed);
	dir = name_dir(creator, TW_INIT);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		lose(TW_INIT);
		return 0;
	}
	fill(r, TW_INIT, flags, tsk, cgroup);
	r->dir = dir;
	r->pid = 0;
	r->tid = 0;
	r->start = 0;
	r->creator = (u64)creator;
	r->ppid = flags & (CLONE_PARENT | CLONE_THREAD) ? GET(GET(creator, struct task_struct, real_parent), struct task_struct, tgid) : creator->tgid;
	bpf_ringbuf_submit(r, wake(1));
	return 0;
}

/* clone: the task is complete, and cannot run yet. */
watcher(clone)(unsigned long flags, struct task_struct *tsk)
{
	struct task_struct *creator = bpf_get_current_task_btf();
	struct tw_rec *r;
	u64 cgroup, dir;

	count_init(creator, tsk);
	leaves_address(tsk);
	if (scope == SCOPE_TREE) {
		if (!is_marked(creator)) {
			if ((u32)creator->pid != control.seed_tid)
				return 0;
			control.command = (u32)tsk->tgid;
		} else if (control.killing) {
			bpf_send_signal(SIGKILL); /* or it would outrun the reader */
		}
		mark(tsk, MARK_LATER);
	} else if (!born_in_scope(creator, tsk, tsk, MARK_LATER)) {
		return 0;
	}
	cgroup = name_cgroup(tsk);
	send_extra(tsk, TW_CLONE, NULL);
	dir = name_dir(tsk, TW_CLONE);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		lose(TW_CLONE);
		return 0;
	}
	/* The kernel has just read the clock for the task; to read it again takes 50 ns. */
	fill_at(r, TW_CLONE, flags, tsk->start_time, tsk, cgroup);
	r->dir = dir;
	r->creator = (u64)creator;
	bpf_ringbuf_submit(r, wake(1));
	return 0;
}

#endif
