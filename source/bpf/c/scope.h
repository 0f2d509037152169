/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which tasks are watched, and the mark on those of a tree. */
#ifndef TASKWATCH_STREAM_SCOPE_H
#define TASKWATCH_STREAM_SCOPE_H

#include "control.h"
#include "place.h"
#include "read.h"
#include "record.h"
#include "scratch.h"

/* Set before the load. */
const volatile u32 scope = SCOPE_MACHINE;
const volatile char scope_path[4096]; /* of the cgroup of SCOPE_CGROUP, from the root of the hierarchy, or "" */

/* Marks the tasks in SCOPE_TREE, and those that were seen in SCOPE_CGROUP or SCOPE_CHOSEN. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} marked SEC(".maps");

/*
 * The same, by address, of tasks whose storage took no mark: for lack of memory, or
 * because another task was preempted in the middle of looking up its own on the same
 * processor.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u32);
} spare SEC(".maps");

#ifdef PROBE_READ

#define STORED 1024 /* more maps than are likely to have values of one task */

/* A search for the mark among the values of a task. */
struct search {
	u64 node; /* of the next value, or 0 */
	u32 found, reserved;
};

static long is_mark(u64 i, struct search *s)
{
	u64 map;

	if (!s->node)
		return 1;
	READ(map, s->node - field_offset(struct bpf_local_storage_elem, snode), struct bpf_local_storage_elem, sdata.smap);
	s->found = map == (u64)&marked;
	READ(s->node, s->node, struct hlist_node, next);
	return s->found;
}

/*
 * Whether the storage at an address has a mark. Before Linux 6.2, the helper finds
 * nothing while another task is in the middle of looking up its own on the same
 * processor: it was preempted there, or interrupted. What it would have found is in a
 * list that can be read without a lock. It is global, as walk_path is.
 */
__noinline int has_mark(u64 storage)
{
	struct search s = {};

	READ(s.node, storage, struct bpf_local_storage, list.first);
	bpf_loop(STORED, is_mark, &s, 0);
	if (!s.found && s.node)
		__sync_fetch_and_add(&control.unmarked, 1);
	return s.found;
}

static __always_inline int is_stored(struct task_struct *tsk)
{
	u64 storage;

	if (bpf_task_storage_get(&marked, tsk, NULL, 0))
		return 1;
	READ(storage, tsk, struct task_struct, bpf_storage);
	return storage && has_mark(storage);
}

#else

static __always_inline int is_stored(struct task_struct *tsk)
{
	return bpf_task_storage_get(&marked, tsk, NULL, 0) != NULL;
}

#endif

static __noinline int is_spare(struct task_struct *tsk)
{
	u64 address = (u64)tsk;

	return bpf_map_lookup_elem(&spare, &address) != NULL;
}

static __always_inline int is_marked(struct task_struct *tsk)
{
	return is_stored(tsk) || (control.spare && is_spare(tsk));
}

static __noinline int mark_spare(struct task_struct *tsk)
{
	u64 address = (u64)tsk;
	u32 yes = 1;

	control.spare = 1;
	if (!bpf_map_update_elem(&spare, &address, &yes, 0))
		return 1;
	__sync_fetch_and_add(&control.unmarked, 1);
	return 0;
}

/* Marks a task and returns whether that has succeeded. Its event is in scope anyway. */
static __always_inline int mark(struct task_struct *tsk)
{
	return bpf_task_storage_get(&marked, tsk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE) || mark_spare(tsk);
}

/* A new task is not the one that was at its address before. */
static __always_inline void is_new(struct task_struct *tsk)
{
	u64 address = (u64)tsk;

	if (control.spare)
		bpf_map_delete_elem(&spare, &address);
}

/* Whether a cgroup is within another one: that does not change while both last. */
struct inside {
	u64 scope; /* the id of the other one */
	u32 is, reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct inside);
} insides SEC(".maps");

struct lineage {
	u64 ancestors; /* an address, which is a mere number to the verifier */
	struct inside in;
};

static long is_ancestor(u64 i, struct lineage *l)
{
	struct cgroup *at = AT(struct cgroup *, (void *)l->ancestors + i * sizeof(at));

	l->in.is = GET(GET(at, struct cgroup, kn), struct kernfs_node, id) == l->in.scope;
	return l->in.is;
}

static __noinline int in_cgroup(struct task_struct *tsk)
{
	struct cgroup *cgrp = tsk->cgroups->dfl_cgrp;
	struct lineage l = {.in.scope = control.cgroup};
	u64 id = cgrp->kn->id;
	struct inside *known = bpf_map_lookup_elem(&insides, &id);

	if (known && known->scope == l.in.scope)
		return known->is;
	READ(l.ancestors, tsk->cgroups, struct css_set, dfl_cgrp);
	l.ancestors += field_offset(struct cgroup, ancestors);
	bpf_loop(cgrp->level + 1, is_ancestor, &l, 0);
	bpf_map_update_elem(&insides, &id, &l.in, 0);
	return l.in.is;
}

/*
 * A cgroup that is removed and made again, as that of a service, has another id.
 * Nothing can be in it yet.
 */
SEC("tp_btf/cgroup_mkdir")
int on_cgroup_mkdir(u64 *ctx)
{
	struct cgroup *cgrp = (struct cgroup *)ctx[0];
	u32 slot = SCRATCH_CGROUP;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &slot);

	if (!s || cgrp->root->hierarchy_id != 0)
		return 0;
	if (bpf_probe_read_kernel_str(s->data, sizeof(scope_path), (void *)ctx[1]) <= 0)
		return 0;
	if (bpf_strncmp((char *)s->data, sizeof(scope_path), (const char *)scope_path) == 0)
		control.cgroup = cgrp->kn->id;
	return 0;
}

struct choice {
	u32 by, reserved;
	u64 value[2]; /* a number, or a comm */
};

/* The values that SCOPE_CHOSEN asks for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CHOICES);
	__type(key, struct choice);
	__type(value, u32);
} choices SEC(".maps");

static __always_inline int is_choice(u32 by, u64 value)
{
	struct choice key = {.by = by, .value[0] = value};

	return !(control.choice & by) || bpf_map_lookup_elem(&choices, &key);
}

/* By the bytes that a record has: see fill_at. */
static __always_inline int is_chosen_comm(struct task_struct *tsk)
{
	struct choice key = {.by = CHOSEN_COMM};

	if (!(control.choice & CHOSEN_COMM))
		return 1;
	bpf_probe_read_kernel_str(key.value, sizeof(key.value), (void *)tsk + field_offset(struct task_struct, comm));
	return bpf_map_lookup_elem(&choices, &key) != NULL;
}

static __always_inline int is_chosen_place(struct task_struct *placed)
{
	u64 of_hierarchy = ((u64)1 << PLACE_HIERARCHY) - 1;

	return !(control.choice & CHOSEN_CGROUP) || is_choice(CHOSEN_CGROUP, place_of(placed).id & of_hierarchy);
}

static __always_inline u32 real_uid(struct task_struct *tsk)
{
	return GET(GET(tsk, struct task_struct, cred), struct cred, uid.val);
}

/* Whether no task is left out. Then none is marked. */
static __always_inline int takes_all(void)
{
	return scope == SCOPE_MACHINE || (scope == SCOPE_CHOSEN && !control.choice);
}

/*
 * Whether somebody may want a task, which has its place where the other one has
 * it. What it is now is all that counts.
 */
static __noinline int is_chosen(struct task_struct *tsk, u32 uid, struct task_struct *placed)
{
	return is_choice(CHOSEN_UID, uid) && is_choice(CHOSEN_PID, tsk->tgid) && is_chosen_comm(tsk) && is_chosen_place(placed);
}

static __noinline int describe(struct task_struct *tsk);

/*
 * Whether a task is in the cgroup: it is marked then, to be followed to its end
 * wherever it goes. One that moved there the reader does not know.
 */
static __always_inline int of_cgroup(struct task_struct *tsk)
{
	if (is_marked(tsk))
		return 1;
	if (!in_cgroup(tsk))
		return 0;
	describe(tsk);
	mark(tsk);
	return 1;
}

/*
 * The same of a new task, at its init or clone, which is where another one is at
 * least. Its creator is seen there, too.
 */
static __always_inline int born_in_cgroup(struct task_struct *creator, struct task_struct *tsk, struct task_struct *placed)
{
	if (is_marked(tsk))
		return 1;
	of_cgroup(creator);
	if (!in_cgroup(placed))
		return 0;
	mark(tsk);
	return 1;
}

/*
 * Whether a task is chosen, or would be with another uid. It is marked then, to
 * be followed to its end. What it is so far the reader does not know.
 */
static __always_inline int enters(struct task_struct *tsk, u32 uid)
{
	if (is_marked(tsk))
		return 1;
	if (!is_chosen(tsk, uid, tsk))
		return 0;
	describe(tsk);
	mark(tsk);
	return 1;
}

/*
 * Whether a new task is chosen, at its init or clone. The child has what its
 * creator has, which the reader has to know for this.
 */
static __always_inline int born_chosen(struct task_struct *creator, struct task_struct *tsk, struct task_struct *placed)
{
	if (takes_all() || is_marked(tsk))
		return 1;
	if (!is_chosen(tsk, real_uid(tsk), placed))
		return 0;
	if (!is_marked(creator)) {
		describe(creator);
		mark(creator);
	}
	mark(tsk);
	return 1;
}

/* For what describes the task by itself. */
static __always_inline int in_scope_undescribed(struct task_struct *tsk)
{
	if (takes_all() || is_marked(tsk))
		return 1;
	if (scope == SCOPE_TREE)
		return 0;
	if (scope == SCOPE_CHOSEN ? !is_chosen(tsk, real_uid(tsk), tsk) : !in_cgroup(tsk))
		return 0;
	mark(tsk);
	return 1;
}

static __always_inline int in_scope(struct task_struct *tsk)
{
	if (takes_all())
		return 1;
	if (scope == SCOPE_CHOSEN)
		return enters(tsk, real_uid(tsk));
	if (scope == SCOPE_CGROUP)
		return of_cgroup(tsk);
	return is_marked(tsk);
}

/* Whether a new task is watched, at its init or clone, in a scope that its place or its facts decide. */
static __always_inline int born_in_scope(struct task_struct *creator, struct task_struct *tsk, struct task_struct *placed)
{
	if (scope == SCOPE_CGROUP)
		return born_in_cgroup(creator, tsk, placed);
	return scope != SCOPE_CHOSEN || born_chosen(creator, tsk, placed);
}

#endif
