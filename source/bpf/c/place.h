/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The cgroup that tells where a task belongs. */
#ifndef TASKWATCH_STREAM_PLACE_H
#define TASKWATCH_STREAM_PLACE_H

#include "constants.h"
#include "read.h"

/* Set before the load: how many hierarchies of cgroup v1 there are, and the one named systemd, or 0. */
const volatile u32 v1_hierarchies, v1_systemd;

struct place {
	struct kernfs_node *kn;
	u64 id; /* of kn; ids of different hierarchies differ in the upper bits */
};

struct v1_walk {
	struct list_head *at;
	struct cgroup *cgrp;
	u32 hierarchy;
};

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *kn)
{
	struct kernfs_node *up = NULL;

	if (field_exists(struct kernfs_node, __parent))
		READ(up, kn, struct kernfs_node, __parent);
	else
		READ(up, kn, struct kernfs_node___before_6_15, parent);
	return up;
}

/* Most hierarchies have a task at their root, so the level is looked at first. */
static long v1_step(u64 i, struct v1_walk *w)
{
	void *link = (void *)w->at - field_offset(struct cgrp_cset_link, cgrp_link);
	struct cgroup *cgrp = GET(link, struct cgrp_cset_link, cgrp);
	int hierarchy;

	READ(w->at, w->at, struct list_head, next);
	if (!w->at || !cgrp)
		return 1;
	if (GET(cgrp, struct cgroup, level) < 1)
		return 0;
	hierarchy = GET(GET(cgrp, struct cgroup, root), struct cgroup_root, hierarchy_id);
	if (hierarchy < 1)
		return 0;
	if ((u32)hierarchy == v1_systemd || !w->hierarchy || (u32)hierarchy < w->hierarchy) {
		w->cgrp = cgrp;
		w->hierarchy = hierarchy;
	}
	return w->hierarchy == v1_systemd;
}

/*
 * Returns the cgroup in another hierarchy of a css_set that is at the root of the
 * unified one, or 0. It is global, as walk_path is.
 */
__noinline u64 v1_cgroup(u64 set)
{
	struct v1_walk w = {};

	READ(w.at, (void *)set + field_offset(struct css_set, cgrp_links), struct list_head, next);
	bpf_loop(v1_hierarchies + 1, v1_step, &w, 0);
	return (u64)w.cgrp;
}

/*
 * The place in the unified hierarchy; on a machine with others, of a task at its
 * root, the place in one of them: internal/procfs does the same in cgroup.go.
 */
static __always_inline struct place place_of(struct task_struct *tsk)
{
	struct css_set *set = GET(tsk, struct task_struct, cgroups);
	struct kernfs_node *kn = GET(GET(set, struct css_set, dfl_cgrp), struct cgroup, kn);
	struct place p = {.kn = kn, .id = GET(kn, struct kernfs_node, id)};

	if (v1_hierarchies && !parent_of(kn)) {
		struct cgroup *cgrp = (void *)v1_cgroup((u64)set);

		if (cgrp) {
			p.kn = GET(cgrp, struct cgroup, kn);
			p.id = GET(p.kn, struct kernfs_node, id) |
			       (u64)GET(GET(cgrp, struct cgroup, root), struct cgroup_root, hierarchy_id) << PLACE_HIERARCHY;
		}
	}
	return p;
}

#endif
