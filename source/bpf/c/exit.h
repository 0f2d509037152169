/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* exit and free. */
#ifndef TASKWATCH_STREAM_EXIT_H
#define TASKWATCH_STREAM_EXIT_H

#include "cgroup.h"
#include "dir.h"
#include "extra.h"
#include "fill.h"
#include "ring.h"
#include "scope.h"

/* One counter of resident pages. It may be negative for a moment. */
#define RSS(i)                                                                       \
	({                                                                           \
		s64 n = 0;                                                           \
		if (type_exists(struct mm_rss_stat))                                 \
			READ(n, mm, struct mm_struct___before_6_2, rss_stat.count[i].counter); \
		else                                                                 \
			READ(n, mm, struct mm_struct, rss_stat[i].count);            \
		n > 0 ? n : 0;                                                       \
	})

/* Resident pages of an address space: file, anonymous and shared, without swap. */
static __always_inline u64 rss(struct mm_struct *mm)
{
	return RSS(0) + RSS(1) + RSS(3);
}

/*
 * The last thread of a process finds the mark that the kernel made for its
 * parent's wait. For others the address space tells, where they still have
 * one: before Linux 6.16 they do not.
 */
static __noinline void maxrss(struct tw_exit *x, struct task_struct *tsk, int group)
{
	u64 mark = GET(GET(tsk, struct task_struct, signal), struct signal_struct, maxrss);
	struct mm_struct *mm;

	if (!group) {
		mm = GET(tsk, struct task_struct, mm);
		if (!mm)
			mm = GET(GET(tsk, struct task_struct, group_leader), struct task_struct, mm);
		if (!mm) {
			x->rec.flags |= TW_NO_MAXRSS;
			return;
		}
		u64 high = GET(mm, struct mm_struct, hiwater_rss), now = rss(mm);
		if (mark < high)
			mark = high;
		if (mark < now)
			mark = now;
	}
	x->maxrss = mark;
}

/* An exit of which nobody wants to know what the task used. */
static __always_inline int stream_short_exit(u64 code, struct task_struct *tsk, int group, u64 cgroup, u64 dir)
{
	struct tw_rec *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (!r) {
		lose(TW_EXIT);
		return 0;
	}
	fill(r, TW_EXIT, code, tsk, cgroup);
	r->dir = dir;
	r->flags |= TW_NO_USAGE;
	if (group)
		r->flags |= TW_GROUP;
	bpf_ringbuf_submit(r, wake(0));
	return 0;
}

static __always_inline int stream_exit(u64 code, struct task_struct *tsk)
{
	int group = GET(GET(tsk, struct task_struct, signal), struct signal_struct, live.counter) == 0;
	struct tw_exit *x;
	u64 cgroup, dir;

	if (!in_scope(tsk))
		return 0;
	cgroup = name_cgroup(tsk);
	send_extra(tsk, TW_EXIT, NULL);
	dir = name_dir(tsk, TW_EXIT);
	if (!(control.wanted & WANT_USAGE) || !(control.kinds & 1u << TW_EXIT))
		return stream_short_exit(code, tsk, group, cgroup, dir);
	x = bpf_ringbuf_reserve(&ring, sizeof(*x), 0);
	if (!x) {
		lose(TW_EXIT);
		return 0;
	}
	fill(&x->rec, TW_EXIT, code, tsk, cgroup);
	x->rec.dir = dir;
	if (group)
		x->rec.flags |= TW_GROUP;
	x->utime = tsk->utime;
	x->stime = tsk->stime;
	x->runtime = tsk->se.sum_exec_runtime;
	x->maxrss = 0;
	maxrss(x, tsk, group);
	x->minflt = tsk->min_flt;
	x->majflt = tsk->maj_flt;
	x->nvcsw = tsk->nvcsw;
	x->nivcsw = tsk->nivcsw;
	x->read_bytes = 0;
	x->write_bytes = 0;
	if (field_exists(struct task_io_accounting, read_bytes)) {
		x->read_bytes = tsk->ioac.read_bytes;
		x->write_bytes = tsk->ioac.write_bytes;
	} else {
		x->rec.flags |= TW_NO_IO;
	}
	bpf_ringbuf_submit(x, wake(0));
	return 0;
}

watcher(exit)(unsigned long code, struct task_struct *tsk)
{
	return stream_exit(code, tsk);
}

watcher(free)(unsigned long code, struct task_struct *tsk)
{
	struct tw_rec *r;

	if (!takes_all()) {
		int in_scope = is_marked(tsk);

		leaves_address(tsk);
		if (!in_scope) {
			if (!tsk->exit_state) /* its fork has failed, and what has called fork is running */
				count_init(bpf_get_current_task_btf(), tsk);
			return 0;
		}
	}
	r = bpf_ringbuf_reserve(&ring, offsetof(struct tw_rec, creator), 0);
	if (!r) {
		lose(TW_FREE);
		return 0;
	}
	fill_head(r, TW_FREE, code, bpf_ktime_get_ns(), tsk);
	bpf_ringbuf_submit(r, wake(0));
	return 0;
}

#endif
