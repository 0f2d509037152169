/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Working directories, each sent before its first use. */
#ifndef TASKWATCH_STREAM_DIR_H
#define TASKWATCH_STREAM_DIR_H

#include "fill.h"
#include "path.h"
#include "ring.h"
#include "scratch.h"

/* The numbers of the directories that the reader knows, each at the place that its upper bits name. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << DIR_BITS);
	__type(key, u32);
	__type(value, u64);
} dirs SEC(".maps");

/*
 * Sends a working directory. The reader knows it from here on, if the names are
 * those of the number, for they may have changed in between, and if no other one
 * was sent for its place meanwhile: which of them came last, nobody knows.
 */
static __noinline void send_dir(struct fs_struct *fs, u64 dir, u64 *known, u64 before)
{
	u32 slot = claim(), cwd, size;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &slot);
	u16 flags = 0;

	if (!slot || !s)
		return;
	__builtin_memset(&s->d, 0, sizeof(s->d));
	s->d.rec.kind = TW_CWD;
	s->d.rec.lost = control.lost;
	s->d.rec.dropped = control.dropped;
	s->d.rec.dir = dir;
	cwd = store_path(slot, 0, cwd_path(fs), fs, TW_CWD_GONE, TW_CWD_CUT, &flags);
	s->d.rec.flags = flags;
	s->d.cwd_len = cwd;
	size = clamp(sizeof(s->d) + cwd, sizeof(s->d) + PATH_ROOM);
	if (bpf_ringbuf_output(&ring, s, size, BPF_RB_NO_WAKEUP))
		lose(TW_CWD);
	else if (number_path((u64)cwd_path(fs), (u64)fs) != dir || __sync_val_compare_and_swap(known, before, dir) != before)
		*(volatile u64 *)known = 0;
	s->busy = 0;
}

/*
 * Returns the working directory of a task for a record of the kind, and sends it if
 * the reader does not know it: 0 where nobody reads it there. A loss shows as
 * missing. With each event goes the number alone, since the names take as long as
 * the record itself.
 */
static __noinline u64 name_dir(struct task_struct *tsk, u16 kind)
{
	struct fs_struct *fs;
	u64 dir, before, *known;
	u32 at;

	if (!(control.placed & 1u << kind) || tsk->flags & PF_KTHREAD)
		return 0;
	fs = GET(tsk, struct task_struct, fs);
	if (!fs)
		return 0;
	dir = number_path((u64)cwd_path(fs), (u64)fs);
	at = dir >> (64 - DIR_BITS);
	known = bpf_map_lookup_elem(&dirs, &at);
	if (!dir || !known)
		return 0;
	before = *(volatile u64 *)known;
	if (before != dir)
		send_dir(fs, dir, known, before);
	return dir;
}

#endif
