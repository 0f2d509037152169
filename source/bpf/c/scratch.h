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
	u32 busy; /* a task has claimed it, and may have been preempted since */
	/* A walk that stores names: what sends records of modules has little stack. */
	struct walk walk;
	u32 from, end; /* in data; no name fits behind end */
};

/* Each has its own, since the one may interrupt the other. */
enum {
	SCRATCH_EXEC,
	SCRATCH_ITER, /* it can be preempted */
	SCRATCH_CGROUP,
	SCRATCH_CLAIMED, /* and the next ones: see claim */
	SCRATCHES = SCRATCH_CLAIMED + 3,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCHES);
	__type(key, u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

/*
 * Claims a scratch of the processor's until busy is 0, and returns its slot: 0 where
 * other tasks have them all, which were preempted. It is global, as walk_path is.
 */
__noinline u32 claim(void)
{
#pragma unroll
	for (u32 i = SCRATCH_CLAIMED; i < SCRATCHES; i++) {
		u32 slot = i;
		struct scratch *s = bpf_map_lookup_elem(&scratch, &slot);

		if (s && !__sync_val_compare_and_swap(&s->busy, 0, 1))
			return i;
	}
	return 0;
}

static __always_inline u32 clamp(u32 n, u32 max)
{
	asm volatile("" : "+r"(n));
	return n > max ? max : n;
}

#endif
