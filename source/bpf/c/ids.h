/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* uid and gid. */
#ifndef TASKWATCH_STREAM_IDS_H
#define TASKWATCH_STREAM_IDS_H

#include "cgroup.h"
#include "constants.h"
#include "extra.h"
#include "fill.h"
#include "ring.h"
#include "scope.h"
#include "syscall.h"

/* Set before the load: sets of system call numbers, of which the last two are in the 32-bit table. */
const volatile u64 uid_syscalls[SYSCALL_WORDS];
const volatile u64 gid_syscalls[SYSCALL_WORDS];
const volatile u64 uid_syscalls32[SYSCALL_WORDS];
const volatile u64 gid_syscalls32[SYSCALL_WORDS];

static __noinline void store_ids(struct tw_ids *r, u16 kind, struct task_ids *ids)
{
	r->cause = 0;
	r->reserved = 0;
	if (!ids) {
		__builtin_memset(r->old, 0, sizeof(r->old));
		return;
	}
	r->cause = ids->cause;
	for (int i = 0; i < 4; i++) {
		r->old[i] = ids->old[i];
		if (kind == TW_UID)
			r->rec.uid[i] = ids->now[i];
		else
			r->rec.gid[i] = ids->now[i];
	}
}

/*
 * The credentials of tsk may still be the old ones, so that a record of uid
 * tells nothing about group ids, and the other way round.
 */
static __always_inline int stream_ids(u16 kind, struct task_struct *tsk, struct task_ids *ids)
{
	struct tw_ids *r;

	if (!in_scope(tsk))
		return 0;
	name_cgroup(tsk);
	send_extra(tsk, kind);
	send_cwd(tsk, tsk);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		lose(kind);
		return 0;
	}
	fill(&r->rec, kind, 0, tsk);
	store_ids(r, kind, ids);
	bpf_ringbuf_submit(r, wake(1));
	return 0;
}

watcher(uid)(unsigned long val, struct task_struct *tsk, struct task_ids *ids)
{
	return stream_ids(TW_UID, tsk, ids);
}

watcher(gid)(unsigned long val, struct task_struct *tsk, struct task_ids *ids)
{
	return stream_ids(TW_GID, tsk, ids);
}

static __always_inline int has(const volatile u64 *set, u64 nr)
{
	return nr < 64 * SYSCALL_WORDS && set[nr >> 6 & (SYSCALL_WORDS - 1)] >> (nr & 63) & 1;
}

/*
 * The exit of a system call: those that change ids are told by their number.
 * This is for kernels where the table cannot see all of them.
 */
SEC("tp_btf/sys_exit")
int on_sys_exit(u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	struct task_struct *tsk = bpf_get_current_task_btf();
	u64 nr = syscall_number(regs);
	int uid, gid;

	if (compat(tsk)) {
		nr = (u32)nr;
		uid = has(uid_syscalls32, nr);
		gid = has(gid_syscalls32, nr);
	} else {
		uid = has(uid_syscalls, nr);
		gid = has(gid_syscalls, nr);
	}
	if (!uid && !gid)
		return 0;
	if (!in_scope(tsk))
		return 0;
	return stream_ids(uid ? TW_UID : TW_GID, tsk, NULL);
}

#endif
