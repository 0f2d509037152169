/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What every record says of its task. */
#ifndef TASKWATCH_STREAM_FILL_H
#define TASKWATCH_STREAM_FILL_H

#include "kernel.h"
#include "record.h"
#include "control.h"

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

/* Fills in what every other record has. */
static __always_inline void fill_at(struct tw_rec *r, u16 kind, u64 val, u64 time, struct task_struct *tsk)
{
	const struct cred *cred = tsk->cred;
	const u64 *comm = (void *)tsk + field_offset(struct task_struct, comm);

	fill_head(r, kind, val, time, tsk);
	r->flags = tsk->flags & PF_KTHREAD ? TW_KTHREAD : 0;
	r->pid = tsk->tgid;
	r->tid = tsk->pid;
	r->ppid = tsk->real_parent->tgid;
	r->creator = tsk->self_exec_id;
	r->cgroup = control.wanted & WANT_CGROUP ? tsk->cgroups->dfl_cgrp->kn->id : 0;
	r->uid[0] = cred->uid.val;
	r->uid[1] = cred->euid.val;
	r->uid[2] = cred->suid.val;
	r->uid[3] = cred->fsuid.val;
	r->gid[0] = cred->gid.val;
	r->gid[1] = cred->egid.val;
	r->gid[2] = cred->sgid.val;
	r->gid[3] = cred->fsgid.val;
	((u64 *)r->comm)[0] = comm[0];
	((u64 *)r->comm)[1] = comm[1];
}

static __always_inline void fill(struct tw_rec *r, u16 kind, u64 val, struct task_struct *tsk)
{
	fill_at(r, kind, val, bpf_ktime_get_ns(), tsk);
}

#endif
