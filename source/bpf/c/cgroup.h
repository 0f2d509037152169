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

struct names {
	struct kernfs_node *kn;
	u8 *data;
	u32 off, cut;
};

static long store_up(u64 i, struct names *w)
{
	struct kernfs_node *up = parent_of(w->kn);
	const char *name;
	u32 off = w->off;
	long n;

	if (!up)
		return 1;
	w->cut = 1;
	READ(name, w->kn, struct kernfs_node, name);
	if (off > CGROUP_ROOM - NAME_MAX_NUL)
		return 1;
	n = bpf_probe_read_kernel_str(w->data + off, NAME_MAX_NUL, name);
	if (n <= 0)
		return 1;
	w->off = off + ((u32)n & (2 * NAME_MAX_NUL - 1));
	w->cut = 0;
	w->kn = up;
	return 0;
}

/* Stores from the leaf to the root the names of a cgroup. */
static __always_inline u32 cgroup_names(struct tw_data *d, u8 *data, struct kernfs_node *kn)
{
	struct names w = {.kn = kn, .data = data};

	bpf_loop(CGROUP_ROOM, store_up, &w, 0);
	if (w.cut)
		d->rec.flags |= TW_EXE_CUT;
	return w.off;
}

struct cgroup_record {
	struct tw_data d;
	u8 data[CGROUP_ROOM];
};

/* Sends the path of a cgroup when its id is new. */
static __noinline int name_cgroup(struct task_struct *tsk)
{
	struct cgroup_record *c;
	struct place p;
	u8 yes = 1;

	if (!(control.wanted & WANT_CGROUP))
		return 0;
	p = place_of(tsk);
	if (control.named == p.id)
		return 0;
	if (bpf_map_lookup_elem(&cgroups, &p.id)) {
		control.named = p.id;
		return 0;
	}
	c = bpf_ringbuf_reserve(&ring, sizeof(*c), 0);
	if (!c) {
		lose(TW_CGROUP);
		return 0;
	}
	__builtin_memset(&c->d, 0, sizeof(c->d));
	c->d.rec.kind = TW_CGROUP;
	c->d.rec.cgroup = p.id;
	c->d.rec.lost = control.lost;
	c->d.rec.dropped = control.dropped;
	c->d.exe_len = cgroup_names(&c->d, c->data, p.kn);
	bpf_ringbuf_submit(c, wake(1));
	bpf_map_update_elem(&cgroups, &p.id, &yes, 0);
	return 0;
}

#endif
