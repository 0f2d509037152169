/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where records are put together that do not fit on the stack. */
#ifndef TASKWATCH_STREAM_SCRATCH_H
#define TASKWATCH_STREAM_SCRATCH_H

#include "kernel.h"
#include "record.h"

#define NAME_MAX_NUL 256
#define PATH_ROOM 4352 /* PATH_MAX and a name */

/* A walk from a dentry up to the root of a task, or without one to that of the mount namespace. */
struct walk {
	struct mount *mnt;
	struct dentry *dentry, *mnt_root;
	struct mount *root_mnt;
	struct dentry *root;
	u32 gone; /* the dentry has no name any more */
	u32 done;
};

struct scratch {
	struct tw_data d;
	u8 data[2 * PATH_ROOM + ARGV_CHUNK];
	/*
	 * Where in data the next name goes. It is here because the verifier
	 * forgets a value that it puts into a map: kept on the stack, it would
	 * be followed through every sum of lengths.
	 */
	u32 off;
	u32 busy; /* of the reports' own */
	/* A walk that stores names: what sends records of modules has little stack. */
	struct walk walk;
	u32 from, end; /* in data; no name fits behind end */
};

/* Each has its own, since the one may interrupt the other. */
enum {
	SCRATCH_EXEC,
	SCRATCH_ITER, /* it can be preempted */
	SCRATCH_REPORT,
	SCRATCH_CWD, /* of whoever has it busy */
	SCRATCH_CGROUP,
	SCRATCH_ENTER, /* of whoever has it busy */
	SCRATCHES,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCHES);
	__type(key, u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline u32 clamp(u32 n, u32 max)
{
	asm volatile("" : "+r"(n));
	return n > max ? max : n;
}

#endif
