/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which tasks are watched, and the mark on those of a tree. */
#ifndef TASKWATCH_STREAM_SCOPE_H
#define TASKWATCH_STREAM_SCOPE_H

#include "kernel.h"
#include "record.h"
#include "control.h"

/* Set before the load. */
const volatile u32 scope = SCOPE_MACHINE;
const volatile u64 scope_cgroup;     /* the id of the cgroup of SCOPE_CGROUP */

/* Marks the tasks in SCOPE_TREE. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} tree SEC(".maps");

#define CGROUP_DEPTH 32

static __always_inline int in_tree(struct task_struct *tsk)
{
	return bpf_task_storage_get(&tree, tsk, NULL, 0) != NULL;
}

static __always_inline int enter_tree(struct task_struct *tsk)
{
	return bpf_task_storage_get(&tree, tsk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE) != NULL;
}

static __always_inline int in_cgroup(struct task_struct *tsk)
{
	struct cgroup *cgrp = tsk->cgroups->dfl_cgrp;
	int level = cgrp->level;

	for (int i = 0; i < CGROUP_DEPTH; i++) {
		struct cgroup *anc;

		if (i > level)
			break;
		if (bpf_probe_read_kernel(&anc, sizeof(anc), (void *)cgrp + field_offset(struct cgroup, ancestors) + i * sizeof(anc)))
			break;
		struct kernfs_node *kn;
		u64 id;
		bpf_probe_read_kernel(&kn, sizeof(kn), (void *)anc + field_offset(struct cgroup, kn));
		bpf_probe_read_kernel(&id, sizeof(id), (void *)kn + field_offset(struct kernfs_node, id));
		if (id == scope_cgroup)
			return 1;
	}
	return 0;
}

static __always_inline int in_scope(struct task_struct *tsk)
{
	if (scope == SCOPE_TREE)
		return in_tree(tsk);
	if (scope == SCOPE_CGROUP)
		return in_cgroup(tsk);
	return 1;
}

#endif
