/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The paths of cgroups, each sent before its first use. */
#ifndef TASKWATCH_STREAM_CGROUP_H
#define TASKWATCH_STREAM_CGROUP_H

#include "fill.h"
#include "ring.h"
#include "scope.h"
#include "scratch.h"

/* Ids of the cgroups whose path was sent. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u8);
} cgroups SEC(".maps");

#define CGROUP_ROOM 4096

struct cgroup_record {
	struct tw_data d;
	u8 data[CGROUP_ROOM];
};

/* A walk from a cgroup up to the root, whose names go to a record. */
struct names {
	struct kernfs_node *kn;
	struct cgroup_record *c;
	u32 cut;
};

/*
 * Where the next name goes is in the record, and not in w: the verifier forgets it
 * there, and otherwise follows each sum of lengths.
 */
static long store_up(u64 i, struct names *w)
{
	struct kernfs_node *up = parent_of(w->kn);
	const char *name;
	u32 off = w->c->d.exe_len;
	long n;

	if (!up)
		return 1;
	w->cut = 1;
	READ(name, w->kn, struct kernfs_node, name);
	if (off > CGROUP_ROOM - NAME_MAX_NUL)
		return 1;
	n = bpf_probe_read_kernel_str(w->c->data + off, NAME_MAX_NUL, name);
	if (n <= 0)
		return 1;
	w->c->d.exe_len = off + ((u32)n & (2 * NAME_MAX_NUL - 1));
	w->cut = 0;
	w->kn = up;
	return 0;
}

/*
 * Sends the path of the cgroup of a kernfs_node when its id is new. It is global,
 * as walk_path is.
 */
__noinline int send_cgroup(u64 kn, u64 id)
{
	struct names w = {.kn = (void *)kn};
	struct cgroup_record *c;
	u8 yes = 1;

	if (bpf_map_lookup_elem(&cgroups, &id)) {
		control.named = id;
		return 0;
	}
	c = bpf_ringbuf_reserve(&ring, sizeof(*c), 0);
	if (!c) {
		lose(TW_CGROUP);
		return 0;
	}
	__builtin_memset(&c->d, 0, sizeof(c->d));
	c->d.rec.kind = TW_CGROUP;
	c->d.rec.cgroup = id;
	c->d.rec.lost = control.lost;
	c->d.rec.dropped = control.dropped;
	w.c = c;
	bpf_loop(CGROUP_ROOM, store_up, &w, 0);
	if (w.cut)
		c->d.rec.flags |= TW_EXE_CUT;
	bpf_ringbuf_submit(c, wake(1));
	bpf_map_update_elem(&cgroups, &id, &yes, 0);
	return 0;
}

/* Returns the id of the cgroup of a task for its record, and sends the path if the id is new. */
static __always_inline u64 name_cgroup(struct task_struct *tsk)
{
	struct place p;

	if (!(control.wanted & WANT_CGROUP))
		return 0;
	p = place_of(tsk);
	if (control.named != p.id)
		send_cgroup((u64)p.kn, p.id);
	return p.id;
}

#endif
