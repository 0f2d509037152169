/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the reader cannot know of the task of a module's record. */
#ifndef TASKWATCH_STREAM_ABOUT_H
#define TASKWATCH_STREAM_ABOUT_H

#include "control.h"
#include "fill.h"
#include "path.h"
#include "ring.h"
#include "scope.h"
#include "scratch.h"

/*
 * Whether the reader does not know a task, because it is out of scope. In the other
 * scopes nothing is told of such tasks, or there are none as long as there are modules.
 */
static __always_inline int is_stranger(struct task_struct *tsk)
{
	return scope == SCOPE_CGROUP && !is_marked(tsk);
}

/* What to send of a task. */
enum about {
	ABOUT_EXE = 1,
	ABOUT_CWD = 2,
	ABOUT_ARGV = 4,
};

/*
 * Returns what there is to send for a record of the kind: where the task is, if somebody
 * reads that, and its program if the reader does not know it. Of a task that is not the
 * running one there are no arguments.
 */
static __always_inline u32 about(struct task_struct *where, u16 kind, int stranger)
{
	u32 wanted = control.wanted, what = control.placed >> kind & 1 ? ABOUT_CWD : 0;

	if (stranger && wanted & WANT_EXE)
		what |= ABOUT_EXE;
	if (stranger && wanted & WANT_ARGV && (u64)where == (u64)bpf_get_current_task_btf())
		what |= ABOUT_ARGV;
	return what;
}

/*
 * Sends for the record of a task that follows what is true of another one, which is
 * itself or has what it has. What sends records of modules has no stack to make a
 * number of the working directory, nor to keep anything here but in the scratch.
 */
static __noinline void send_about(struct task_struct *tsk, struct task_struct *where, u32 what)
{
	struct fs_struct *fs = GET(where, struct task_struct, fs);
	struct mm_struct *mm = GET(where, struct task_struct, mm);
	u32 slot, len;
	struct scratch *s;

	if (!mm)
		what &= ABOUT_CWD;
	if (!what || !fs || where->flags & PF_KTHREAD)
		return;
	slot = claim();
	s = bpf_map_lookup_elem(&scratch, &slot);
	if (!slot || !s)
		return;
	fill_head(&s->d.rec, TW_ABOUT, what, 0, tsk);
	s->d.rec.flags = TW_EXE_CUT | TW_CWD_CUT | TW_ARGV_LEFT;
	s->d.exe_len = 0;
	s->d.cwd_len = 0;
	s->d.argv_len = 0;
	s->d.argv_off = 0;
	if (s->d.rec.val & ABOUT_EXE) {
		s->d.rec.flags &= ~TW_EXE_CUT;
		s->d.exe_len = store_path(slot, 0, program_path(mm), fs, TW_EXE_GONE, TW_EXE_CUT, &s->d.rec.flags);
	}
	if (s->d.rec.val & ABOUT_CWD) {
		s->d.rec.flags &= ~TW_CWD_CUT;
		s->d.cwd_len = store_path(slot, s->d.exe_len, cwd_path(fs), fs, TW_CWD_GONE, TW_CWD_CUT, &s->d.rec.flags);
	}
	if (s->d.rec.val & ABOUT_ARGV) {
		u64 from = GET(mm, struct mm_struct, arg_start), n = GET(mm, struct mm_struct, arg_end) - from;

		if (n > ARGV_CHUNK) {
			s->d.rec.flags |= TW_ARGV_CUT;
			n = ARGV_CHUNK;
		}
		len = clamp(n, ARGV_CHUNK);
		if (!bpf_probe_read_user(s->data + clamp(s->d.exe_len + s->d.cwd_len, 2 * PATH_ROOM), len, (void *)from)) {
			s->d.rec.flags &= ~TW_ARGV_LEFT;
			s->d.argv_len = len;
		}
	}
	len = clamp(sizeof(s->d) + s->d.exe_len + s->d.cwd_len + s->d.argv_len, sizeof(*s));
	if (bpf_ringbuf_output(&ring, s, len, BPF_RB_NO_WAKEUP))
		lose(TW_ABOUT);
	s->busy = 0;
}

#endif
