/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The arguments of an exec: of one that has happened, and of one that is asked for. */
#ifndef TASKWATCH_STREAM_ARGUMENTS_H
#define TASKWATCH_STREAM_ARGUMENTS_H

#include "control.h"
#include "ring.h"
#include "scratch.h"

struct argv_walk {
	struct scratch *s;
	u64 from, to; /* what is left, in user memory */
	u32 sent, failed;
};

/* Sends one full piece of a long argv. */
static long send_argv(u64 i, struct argv_walk *w)
{
	struct scratch *s = w->s;

	if (w->to - w->from <= ARGV_CHUNK)
		return 1;
	if (bpf_probe_read_user(s->data, ARGV_CHUNK, (void *)w->from)) {
		w->failed = 1;
		return 1;
	}
	s->d.rec.lost = control.lost;
	s->d.rec.dropped = control.dropped;
	s->d.argv_off = w->sent;
	s->d.exe_len = 0;
	s->d.cwd_len = 0;
	s->d.argv_len = ARGV_CHUNK;
	if (bpf_ringbuf_output(&ring, s, sizeof(struct tw_data) + ARGV_CHUNK, wake(1))) {
		lose(TW_ARGV);
		w->failed = 1;
		return 1;
	}
	w->from += ARGV_CHUNK;
	w->sent += ARGV_CHUNK;
	return 0;
}

#define ARG_ROOM 4096

struct arg_walk {
	struct scratch *s;
	u64 argv;
	u32 word; /* bytes of a pointer */
	u32 done;
};

static long next_arg(u64 i, struct arg_walk *w)
{
	struct scratch *s = w->s;
	u32 off = s->off;
	void *arg = NULL;
	u32 narrow = 0;
	long n;

	if (w->word == sizeof(narrow)) {
		if (bpf_probe_read_user(&narrow, sizeof(narrow), (void *)(w->argv + sizeof(narrow) * i)))
			return 1;
		arg = (void *)(u64)narrow;
	} else if (bpf_probe_read_user(&arg, sizeof(arg), (void *)(w->argv + sizeof(arg) * i))) {
		return 1;
	}
	if (!arg) {
		w->done = 1;
		return 1;
	}
	if (off > sizeof(s->data) - ARG_ROOM)
		return 1;
	n = bpf_probe_read_user_str(s->data + off, ARG_ROOM, arg);
	if (n <= 0)
		return 1;
	s->off = off + ((u32)n & (2 * ARG_ROOM - 1));
	return n == ARG_ROOM; /* it may have been longer */
}

#endif
