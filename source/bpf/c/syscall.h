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

#define AT_FDCWD -100

/* What an execve or execveat was called with: addresses in user memory. */
struct exec_wanted {
	u64 path, argv;
	u32 word; /* bytes of a pointer */
	s32 fd;   /* that the path is relative to */
};

/*
 * Reads what the exec is called with that a task is in, and reports whether it is in
 * one.
 */
static __always_inline int exec_wanted(struct exec_wanted *w, struct task_struct *tsk, struct pt_regs *regs)
{
	u64 nr = syscall_number(regs), fd = AT_FDCWD;
	int narrow = compat(tsk), at;

	if (narrow)
		nr = (u32)nr;
	at = nr == (narrow ? execveat_syscall32 : execveat_syscall);
	if (!at && nr != (narrow ? execve_syscall32 : execve_syscall))
		return 0;
	w->word = narrow ? 4 : 8;
	if (field_exists(struct pt_regs, si)) {
		if (narrow && at) {
			READ(fd, regs, struct pt_regs, bx);
			READ(w->path, regs, struct pt_regs, cx);
			READ(w->argv, regs, struct pt_regs, dx);
		} else if (narrow) {
			READ(w->path, regs, struct pt_regs, bx);
			READ(w->argv, regs, struct pt_regs, cx);
		} else if (at) {
			READ(fd, regs, struct pt_regs, di);
			READ(w->path, regs, struct pt_regs, si);
			READ(w->argv, regs, struct pt_regs, dx);
		} else {
			READ(w->path, regs, struct pt_regs, di);
			READ(w->argv, regs, struct pt_regs, si);
		}
	}
	if (field_exists(struct pt_regs___arm64, regs)) {
		if (at) {
			READ(fd, regs, struct pt_regs___arm64, orig_x0); /* a result is where it was */
			READ(w->path, regs, struct pt_regs___arm64, regs[1]);
			READ(w->argv, regs, struct pt_regs___arm64, regs[2]);
		} else {
			READ(w->path, regs, struct pt_regs___arm64, orig_x0);
			READ(w->argv, regs, struct pt_regs___arm64, regs[1]);
		}
	}
	if (narrow) {
		w->path = (u32)w->path;
		w->argv = (u32)w->argv;
	}
	w->fd = fd;
	return 1;
}

#endif
