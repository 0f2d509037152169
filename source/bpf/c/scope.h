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
const volatile u32 init_skippable; /* a task that is preempted in the program of init has others pass by it */
const volatile char scope_path[4096]; /* of the cgroup of SCOPE_CGROUP, from the root of the hierarchy, or "" */

/* When a task was marked: what its mark is. */
enum {
	MARK_LATER = 0,
	MARK_AT_INIT = 1,
};

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
	u32 found, mark;
};

static long is_mark(u64 i, struct search *s)
{
	u64 map;

	if (!s->node)
		return 1;
	READ(map, s->node - field_offset(struct bpf_local_storage_elem, snode), struct bpf_local_storage_elem, sdata.smap);
	if (map == (u64)&marked) {
		READ(s->mark, s->node - field_offset(struct bpf_local_storage_elem, snode), struct bpf_local_storage_elem, sdata.data);
		s->found = 1;
		return 1;
	}
	READ(s->node, s->node, struct hlist_node, next);
	return 0;
}

/*
 * The mark in the storage at an address, and 1 added to it, or 0. Before Linux 6.2, the
 * helper finds nothing while another task is in the middle of looking up its own on the
 * same processor: it was preempted there, or interrupted. What it would have found is in
 * a list that can be read without a lock. It is global, as walk_path is.
 */
__noinline int find_mark(u64 storage)
{
	struct search s = {};

	READ(s.node, storage, struct bpf_local_storage, list.first);
	bpf_loop(STORED, is_mark, &s, 0);
	if (!s.found && s.node)
		__sync_fetch_and_add(&control.unmarked, 1);
	return s.found ? 1 + (s.mark & MARK_AT_INIT) : 0;
}

/* The mark in a task's storage, and 1 added to it, or 0. */
static __always_inline int stored(struct task_struct *tsk)
{
	u32 *value = bpf_task_storage_get(&marked, tsk, NULL, 0);
	u64 storage;

	if (value)
		return 1 + (*value & MARK_AT_INIT);
	READ(storage, tsk, struct task_struct, bpf_storage);
	return storage ? find_mark(storage) : 0;
}

#else

static __always_inline int stored(struct task_struct *tsk)
{
	u32 *value = bpf_task_storage_get(&marked, tsk, NULL, 0);

	return value ? 1 + (*value & MARK_AT_INIT) : 0;
}

#endif

static __noinline int spared(struct task_struct *tsk)
{
	u64 address = (u64)tsk;
	u32 *value = bpf_map_lookup_elem(&spare, &address);

	return value ? 1 + (*value & MARK_AT_INIT) : 0;
}

static __always_inline int is_marked(struct task_struct *tsk)
{
	return stored(tsk) || (control.spare && spared(tsk));
}

/* Whether a new task was marked at its init. */
static __always_inline int marked_at_init(struct task_struct *tsk)
{
	return stored(tsk) == 1 + MARK_AT_INIT || (control.spare && spared(tsk) == 1 + MARK_AT_INIT);
}

static __noinline int mark_spare(struct task_struct *tsk, u32 when)
{
	u64 address = (u64)tsk;

	control.spare = 1;
	if (!bpf_map_update_elem(&spare, &address, &when, 0))
		return 1;
	__sync_fetch_and_add(&control.unmarked, 1);
	return 0;
}

/* Marks a task and returns whether that has succeeded. Its event is in scope anyway. */
static __always_inline int mark(struct task_struct *tsk, u32 when)
{
	u32 *value = bpf_task_storage_get(&marked, tsk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!value)
		return mark_spare(tsk, when);
	if (when == MARK_AT_INIT)
		*value = when;
	return 1;
}

/*
 * A new task is not the one that was at its address before. The kernel may pass by the
 * program of free, or that of init, so both say so.
 */
static __always_inline void leaves_address(struct task_struct *tsk)
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
	mark(tsk, MARK_LATER);
	return 1;
}

/*
 * The same of a new task, at its init or clone, which is where another one is at
 * least. Its creator is seen there, too.
 */
static __always_inline int born_in_cgroup(struct task_struct *creator, struct task_struct *tsk, struct task_struct *placed, u32 when)
{
	if (is_marked(tsk))
		return 1;
	of_cgroup(creator);
	if (!in_cgroup(placed))
		return 0;
	mark(tsk, when);
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
	mark(tsk, MARK_LATER);
	return 1;
}

/*
 * Whether a new task is chosen, at its init or clone. The child has what its
 * creator has, which the reader has to know for this.
 */
static __always_inline int born_chosen(struct task_struct *creator, struct task_struct *tsk, struct task_struct *placed, u32 when)
{
	if (takes_all() || is_marked(tsk))
		return 1;
	if (!is_chosen(tsk, real_uid(tsk), placed))
		return 0;
	if (!is_marked(creator)) {
		describe(creator);
		mark(creator, MARK_LATER);
	}
	mark(tsk, when);
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
	mark(tsk, MARK_LATER);
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
static __always_inline int born_in_scope(struct task_struct *creator, struct task_struct *tsk, struct task_struct *placed, u32 when)
{
	if (scope == SCOPE_CGROUP)
		return born_in_cgroup(creator, tsk, placed, when);
	return scope != SCOPE_CHOSEN || born_chosen(creator, tsk, placed, when);
}

/*
 * Counts a new task of SCOPE_TREE or SCOPE_CGROUP, at its clone or where its fork has
 * failed, if it was not marked at its init: the kernel has passed by the program of init.
 * Or the task was made before that was attached; the reader knows how often the kernel
 * has passed by.
 */
static __always_inline void count_init(struct task_struct *creator, struct task_struct *tsk)
{
	if (!init_skippable || !(control.kinds & 1u << TW_INIT))
		return;
	if (scope == SCOPE_TREE ? !is_marked(creator) : scope != SCOPE_CGROUP || !in_cgroup(creator))
		return;
	if (!marked_at_init(tsk))
		__sync_fetch_and_add(&control.untold, 1);
}

#endif
