/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every record says of its task. */
#ifndef TASKWATCH_STREAM_FILL_H
#define TASKWATCH_STREAM_FILL_H

#include "control.h"
#include "place.h"
#include "read.h"
#include "record.h"

/* Fills in what is left of a task that is freed. */
static __always_inline void fill_head(struct tw_rec *r, u16 kind, u64 val, u64 time, struct task_struct *tsk)
{
	r->kind = kind;
	r->flags = 0;
	r->pid = 0;
	r->tid = 0;
	r->ppid = 0;
	r->lost = control.lost;
	r->dropped = control.dropped;
	r->time = time;
	r->task = (u64)tsk;
	r->start = tsk->start_boottime;
	r->val = val;
}

static __always_inline void fill_ids(struct tw_rec *r, const struct cred *cred)
{
	READ(r->uid[0], cred, struct cred, uid);
	READ(r->uid[1], cred, struct cred, euid);
	READ(r->uid[2], cred, struct cred, suid);
	READ(r->uid[3], cred, struct cred, fsuid);
	READ(r->gid[0], cred, struct cred, gid);
	READ(r->gid[1], cred, struct cred, egid);
	READ(r->gid[2], cred, struct cred, sgid);
	READ(r->gid[3], cred, struct cred, fsgid);
}

static __always_inline u64 cgroup_of(struct task_struct *tsk)
{
	return control.wanted & WANT_CGROUP ? place_of(tsk).id : 0;
}

/* Fills in what every record of an event has. It is put together in place: where
 * modules send records, their watchers need the stack. */
static __always_inline void fill_at(struct tw_rec *r, u16 kind, u64 val, u64 time, struct task_struct *tsk, u64 cgroup)
{
	const u64 *comm = (void *)tsk + field_offset(struct task_struct, comm);

	fill_head(r, kind, val, time, tsk);
	r->flags = tsk->flags & PF_KTHREAD ? TW_KTHREAD : 0;
	r->pid = tsk->tgid;
	r->tid = tsk->pid;
	r->ppid = GET(GET(tsk, struct task_struct, real_parent), struct task_struct, tgid);
	r->creator = tsk->self_exec_id;
	r->cgroup = cgroup;
	fill_ids(r, GET(tsk, struct task_struct, cred));
	((u64 *)r->comm)[0] = comm[0];
	((u64 *)r->comm)[1] = comm[1];
	r->dir = 0;
}

static __always_inline void fill(struct tw_rec *r, u16 kind, u64 val, struct task_struct *tsk, u64 cgroup)
{
	fill_at(r, kind, val, bpf_ktime_get_ns(), tsk, cgroup);
}

#endif
