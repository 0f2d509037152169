/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* exec. */
#ifndef TASKWATCH_STREAM_EXEC_H
#define TASKWATCH_STREAM_EXEC_H

#include "arguments.h"
#include "cgroup.h"
#include "extra.h"
#include "fill.h"
#include "path.h"
#include "ring.h"
#include "scope.h"
#include "scratch.h"

/*
 * The CPU time that a task has used until its exec, as the val of its record: ns,
 * and in the lowest 10 bits 1 and which part of 1022 the kernel has sampled as
 * system time.
 */
static __always_inline u64 time_before(struct task_struct *tsk)
{
	u64 system = tsk->stime, sampled = tsk->utime + system;

	return tsk->se.sum_exec_runtime << 10 | (1 + (sampled ? system * 1022 / sampled : 0));
}

static __always_inline int stream_exec(struct task_struct *tsk)
{
	struct mm_struct *mm = GET(tsk, struct task_struct, mm);
	struct fs_struct *fs = GET(tsk, struct task_struct, fs);
	struct argv_walk argv = {};
	struct scratch *s;
	u32 slot = SCRATCH_EXEC, exe = 0, cwd = 0, len, size, wanted = control.wanted;
	u16 flags = 0;
	u64 cgroup;

	if (!mm || !in_scope_undescribed(tsk))
		return 0;
	cgroup = name_cgroup(tsk);
	send_extra(tsk, TW_EXEC, NULL);
	s = bpf_map_lookup_elem(&scratch, &slot);
	if (!s)
		return 0;
	send_program(tsk, mm, s, slot);

	argv.s = s;
	argv.from = GET(mm, struct mm_struct, arg_start);
	argv.to = GET(mm, struct mm_struct, arg_end);
	if (!(wanted & WANT_ARGV)) {
		argv.to = argv.from;
		flags |= TW_ARGV_LEFT;
	}
	if (argv.to - argv.from > ARGV_CHUNK) {
		if (argv.to - argv.from > ARGV_CHUNK * ARGV_CHUNKS) {
			argv.to = argv.from + ARGV_CHUNK * ARGV_CHUNKS;
			flags |= TW_ARGV_CUT;
		}
		fill_head(&s->d.rec, TW_ARGV, 0, 0, tsk);
		bpf_loop(ARGV_CHUNKS, send_argv, &argv, 0);
	}

	fill(&s->d.rec, TW_EXEC, time_before(tsk), tsk, cgroup);
	if (wanted & WANT_EXE)
		exe = store_path(slot, 0, program_path(mm), fs, TW_EXE_GONE, TW_EXE_CUT, &flags);
	else
		flags |= TW_EXE_CUT;
	if (wanted & WANT_CWD)
		cwd = store_path(slot, exe, cwd_path(fs), fs, TW_CWD_GONE, TW_CWD_CUT, &flags);
	else
		flags |= TW_CWD_CUT;
	len = argv.failed ? 0 : clamp(argv.to - argv.from, ARGV_CHUNK);
	if (bpf_probe_read_user(s->data + exe + cwd, len, (void *)argv.from)) {
		argv.failed = 1;
		len = 0;
	}
	if (argv.failed)
		flags |= TW_ARGV_CUT;
	s->d.rec.flags |= flags;
	s->d.rec.dir = GET(GET(tsk, struct task_struct, signal), struct signal_struct, maxrss);
	s->d.exe_len = exe;
	s->d.cwd_len = cwd;
	s->d.argv_len = len;
	s->d.argv_off = argv.sent;
	size = clamp(sizeof(s->d) + exe + cwd + len, sizeof(*s));
	if (bpf_ringbuf_output(&ring, s, size, wake(1)))
		lose(TW_EXEC);
	return 0;
}

watcher(exec)(unsigned long val, struct task_struct *tsk)
{
	return stream_exec(tsk);
}

#endif
