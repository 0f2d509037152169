/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* uid and gid. */
#ifndef TASKWATCH_STREAM_IDS_H
#define TASKWATCH_STREAM_IDS_H

#include "cgroup.h"
#include "constants.h"
#include "dir.h"
#include "extra.h"
#include "fill.h"
#include "ring.h"
#include "scope.h"
#include "syscall.h"

/* Set before the load: sets of system call numbers, of which those called 32 are in the 32-bit table. */
const volatile u64 uid_syscalls[SYSCALL_WORDS];
const volatile u64 gid_syscalls[SYSCALL_WORDS];
const volatile u64 uid_syscalls32[SYSCALL_WORDS];
const volatile u64 gid_syscalls32[SYSCALL_WORDS];
const volatile u64 setgroups_syscalls[SYSCALL_WORDS];
const volatile u64 setgroups_syscalls32[SYSCALL_WORDS];

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
 * The ids may be chosen before or after. In the middle of an exec the task has
 * the new name and the new memory already, but the event is about the old
 * program, which nobody can describe any more.
 */
static __always_inline int ids_in_scope(u16 kind, struct task_struct *tsk, struct task_ids *ids)
{
	if (ids && ids->cause == TASK_CAUSE_EXEC)
		return in_scope_undescribed(tsk);
	if (in_scope(tsk))
		return 1;
	return scope == SCOPE_CHOSEN && kind == TW_UID && ids && enters(tsk, ids->now[0]);
}

/*
 * The credentials of tsk may still be the old ones, so that a record of uid
 * tells nothing about group ids, and the other way round. groups are those of a
 * setgroups that is not done yet, or NULL.
 */
static __always_inline int stream_ids(u16 kind, struct task_struct *tsk, struct task_ids *ids, void *groups)
{
	struct tw_ids *r;
	u64 cgroup, dir;

	if (!ids_in_scope(kind, tsk, ids))
		return 0;
	cgroup = name_cgroup(tsk);
	send_extra(tsk, kind, groups);
	dir = name_dir(tsk, kind);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		lose(kind);
		return 0;
	}
	fill(&r->rec, kind, 0, tsk, cgroup);
	r->rec.dir = dir;
	store_ids(r, kind, ids);
	bpf_ringbuf_submit(r, wake(1));
	return 0;
}

watcher(uid)(unsigned long val, struct task_struct *tsk, struct task_ids *ids)
{
	return stream_ids(TW_UID, tsk, ids, NULL);
}

watcher(gid)(unsigned long val, struct task_struct *tsk, struct task_ids *ids, void *groups)
{
	return stream_ids(TW_GID, tsk, ids, groups);
}

static __always_inline int has(const volatile u64 *set, u64 nr)
{
	return nr < 64 * SYSCALL_WORDS && set[nr >> 6 & (SYSCALL_WORDS - 1)] >> (nr & 63) & 1;
}

/* A setgroups that has succeeded: the four ids are what they were. */
static __noinline int stream_groups(struct task_struct *tsk)
{
	const struct cred *cred = GET(tsk, struct task_struct, cred);
	struct task_ids ids = {.cause = TASK_CAUSE_SETGROUPS};

	READ(ids.old[0], cred, struct cred, gid);
	READ(ids.old[1], cred, struct cred, egid);
	READ(ids.old[2], cred, struct cred, sgid);
	READ(ids.old[3], cred, struct cred, fsgid);
	for (int i = 0; i < 4; i++)
		ids.now[i] = ids.old[i];
	return stream_ids(TW_GID, tsk, &ids, NULL);
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
	int uid, gid, groups;

	if (compat(tsk)) {
		nr = (u32)nr;
		uid = has(uid_syscalls32, nr);
		gid = has(gid_syscalls32, nr);
		groups = has(setgroups_syscalls32, nr);
	} else {
		uid = has(uid_syscalls, nr);
		gid = has(gid_syscalls, nr);
		groups = has(setgroups_syscalls, nr);
	}
	if (!uid && !gid && !(groups && !ctx[1]))
		return 0;
	if (!in_scope(tsk))
		return 0;
	return groups ? stream_groups(tsk) : stream_ids(uid ? TW_UID : TW_GID, tsk, NULL, NULL);
}

#endif
