/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a task is that is chosen in the middle of its life. */
#ifndef TASKWATCH_STREAM_ENTER_H
#define TASKWATCH_STREAM_ENTER_H

#include "fill.h"
#include "path.h"
#include "ring.h"
#include "scope.h"
#include "scratch.h"

/*
 * Sends what the iterator would say of the current task, and the beginning of
 * its argv. Of one that has let go of its memory, and where there is no scratch to
 * claim, the program shows as missing.
 */
static __noinline int describe(struct task_struct *tsk)
{
	struct mm_struct *mm = GET(tsk, struct task_struct, mm);
	struct fs_struct *fs = GET(tsk, struct task_struct, fs);
	u32 slot, exe, cwd, len, size;
	struct scratch *s;
	u16 flags = 0;
	u64 from, n;

	if (!mm || !fs)
		return 0;
	slot = claim();
	s = bpf_map_lookup_elem(&scratch, &slot);
	if (!slot || !s)
		return 0;
	fill(&s->d.rec, TW_TASK, 0, tsk, cgroup_of(tsk));
	exe = store_path(slot, 0, program_path(mm), fs, TW_EXE_GONE, TW_EXE_CUT, &flags);
	cwd = store_path(slot, exe, cwd_path(fs), fs, TW_CWD_GONE, TW_CWD_CUT, &flags);
	from = GET(mm, struct mm_struct, arg_start);
	n = GET(mm, struct mm_struct, arg_end) - from;
	if (n > ARGV_CHUNK) {
		flags |= TW_ARGV_CUT;
		n = ARGV_CHUNK;
	}
	len = clamp(n, ARGV_CHUNK);
	if (bpf_probe_read_user(s->data + exe + cwd, len, (void *)from)) {
		flags |= TW_ARGV_CUT;
		len = 0;
	}
	s->d.rec.flags |= flags;
	s->d.exe_len = exe;
	s->d.cwd_len = cwd;
	s->d.argv_len = len;
	s->d.argv_off = 0;
	size = clamp(sizeof(s->d) + exe + cwd + len, sizeof(*s));
	if (bpf_ringbuf_output(&ring, s, size, wake(1)))
		lose(TW_TASK);
	s->busy = 0;
	return 0;
}

#endif
