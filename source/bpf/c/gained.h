/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The capabilities that a task has before an exec: after it they are gone. */
#ifndef TASKWATCH_STREAM_GAINED_H
#define TASKWATCH_STREAM_GAINED_H

#include "record.h"
#include "scope.h"
#include "syscall.h"

struct caps_before {
	u64 permitted, known;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct caps_before);
} before SEC(".maps");

static __always_inline u64 caps(const struct cred *cred, u32 offset)
{
	return AT(u64, (void *)cred + offset);
}

static __always_inline u64 permitted(struct task_struct *tsk)
{
	return caps(GET(tsk, struct task_struct, cred), field_offset(struct cred, cap_permitted));
}

static __always_inline int note_caps(struct task_struct *tsk)
{
	struct caps_before *b;

	if (!in_scope(tsk))
		return 0;
	b = bpf_task_storage_get(&before, tsk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (b) {
		b->permitted = permitted(tsk);
		b->known = 1;
	}
	return 0;
}

/* Since Linux 6.10: the exec can no longer fail, and the credentials are still the old ones. */
SEC("tp_btf/sched_prepare_exec")
int on_prepare_exec(u64 *ctx)
{
	return note_caps((struct task_struct *)ctx[0]);
}

/* Before: an exec begins. */
SEC("tp_btf/sys_enter")
int on_exec_enter(u64 *ctx)
{
	struct task_struct *tsk = bpf_get_current_task_btf();
	u64 nr = ctx[1];
	int exec;

	if (compat(tsk))
		exec = (u32)nr == execve_syscall32 || (u32)nr == execveat_syscall32;
	else
		exec = nr == execve_syscall || nr == execveat_syscall;
	return exec ? note_caps(tsk) : 0;
}

/* What a task that has just run a program is permitted since. Each note is used once. */
static __always_inline void fill_gained(struct tw_extra *x, struct task_struct *tsk)
{
	struct caps_before *b = bpf_task_storage_get(&before, tsk, NULL, 0);

	if (!b || !b->known)
		return;
	x->gained = permitted(tsk) & ~b->permitted;
	x->has |= TW_HAS_GAINED;
	b->known = 0;
}

#endif
