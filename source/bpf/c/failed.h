/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Execs that fail. */
#ifndef TASKWATCH_STREAM_FAILED_H
#define TASKWATCH_STREAM_FAILED_H

#include "arguments.h"
#include "dir.h"
#include "extra.h"
#include "fill.h"
#include "ring.h"
#include "scope.h"
#include "scratch.h"
#include "syscall.h"

/*
 * What an exec that failed has tried, as its caller has it in memory: the path as
 * exe, and the arguments.
 */
static __always_inline void store_failed(struct scratch *s, struct exec_wanted *w)
{
	struct arg_walk args = {.s = s, .argv = w->argv, .word = w->word};
	u16 flags = TW_EXE_CUT | TW_ARGV_CUT | TW_ARGV_LEFT;
	u32 exe = 0, len = 0;
	long n = 0;

	if (w->path)
		n = bpf_probe_read_user_str(s->data, PATH_ROOM, (void *)w->path);
	if (n > 0) {
		exe = clamp(n - 1, PATH_ROOM);
		flags &= ~TW_EXE_CUT;
	}
	s->off = exe;
	if (args.argv) {
		flags &= ~TW_ARGV_LEFT;
		bpf_loop(ARGV_CHUNK, next_arg, &args, 0);
		len = clamp(s->off - exe, sizeof(s->data));
		if (args.done)
			flags &= ~TW_ARGV_CUT;
	}
	s->d.rec.flags |= flags;
	s->d.exe_len = exe;
	s->d.cwd_len = 0;
	s->d.argv_len = len;
	s->d.argv_off = w->fd;
}

SEC("tp_btf/sys_exit")
int on_exec_exit(u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	struct task_struct *tsk;
	struct scratch *s;
	u32 slot, size;
	struct exec_wanted wanted = {};
	s64 result = ctx[1];
	u64 dir;

	if (result >= 0)
		return 0;
	tsk = bpf_get_current_task_btf();
	if (!exec_wanted(&wanted, tsk, regs) || !in_scope(tsk))
		return 0;
	dir = name_dir(tsk, TW_FAILED);
	slot = claim();
	s = bpf_map_lookup_elem(&scratch, &slot);
	if (!slot || !s) {
		lose(TW_FAILED);
		return 0;
	}
	fill(&s->d.rec, TW_FAILED, -result, tsk, cgroup_of(tsk));
	s->d.rec.dir = dir;
	store_failed(s, &wanted);
	size = clamp(sizeof(s->d) + s->d.exe_len + s->d.argv_len, sizeof(*s));
	if (bpf_ringbuf_output(&ring, s, size, wake(1)))
		lose(TW_FAILED);
	s->busy = 0;
	return 0;
}

#endif
