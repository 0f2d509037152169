/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The system call that a task is in: its number, and its arguments. */
#ifndef TASKWATCH_STREAM_SYSCALL_H
#define TASKWATCH_STREAM_SYSCALL_H

#include "read.h"

/* Set before the load: numbers, and those in the 32-bit table. */
const volatile u64 execve_syscall, execveat_syscall;
const volatile u64 execve_syscall32, execveat_syscall32;

static __always_inline u64 syscall_number(struct pt_regs *regs)
{
	u64 nr = 0;

	if (field_exists(struct pt_regs, orig_ax))
		READ(nr, regs, struct pt_regs, orig_ax);
	if (field_exists(struct pt_regs___arm64, syscallno)) {
		s32 n;

		READ(n, regs, struct pt_regs___arm64, syscallno);
		nr = (u32)n;
	}
	return nr;
}

/* Whether a task is in a system call of the 32-bit table. */
static __always_inline int compat(struct task_struct *tsk)
{
	if (field_exists(struct pt_regs___arm64, syscallno))
		return tsk->thread_info.flags >> 22 & 1; /* TIF_32BIT */
	return field_exists(struct thread_info, status) && tsk->thread_info.status & TS_COMPAT;
}

/* The argv that an execve or execveat was called with, or 0 where it cannot be told. */
static __always_inline u64 argv_wanted(struct task_struct *tsk)
{
	struct pt_regs *regs = bpf_task_pt_regs(tsk);
	u64 argv = 0, at, nr = syscall_number(regs);

	at = nr == execveat_syscall;
	if (compat(tsk) || (nr != execve_syscall && !at))
		return 0;
	if (field_exists(struct pt_regs, si)) {
		if (at)
			READ(argv, regs, struct pt_regs, dx);
		else
			READ(argv, regs, struct pt_regs, si);
	}
	if (field_exists(struct pt_regs___arm64, regs)) {
		if (at)
			READ(argv, regs, struct pt_regs___arm64, regs[2]);
		else
			READ(argv, regs, struct pt_regs___arm64, regs[1]);
	}
	return argv;
}

#endif
