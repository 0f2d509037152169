/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tasks that are there already. */
#ifndef TASKWATCH_STREAM_ITER_H
#define TASKWATCH_STREAM_ITER_H

#include "cgroup.h"
#include "fill.h"
#include "path.h"
#include "scope.h"
#include "scratch.h"

/* Set before the load: the process, already running, of SCOPE_TREE; or 0. */
const volatile s32 scope_pid;

/*
 * Whether a task is in the tree. A child that comes before its parent is found
 * the next time: the reader looks until nothing new is found.
 */
static __always_inline int of_tree(struct task_struct *tsk)
{
	if (is_marked(tsk))
		return 1;
	if (!scope_pid || (tsk->tgid != scope_pid && !is_marked(tsk->group_leader) && !is_marked(tsk->real_parent)))
		return 0;
	if (mark(tsk, MARK_LATER))
		control.entered++;
	return 1;
}

SEC("iter/task")
int iter_tasks(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *tsk = ctx->task;
	struct scratch *s;
	struct fs_struct *fs;
	struct mm_struct *mm;
	u32 slot = SCRATCH_ITER, exe = 0, cwd = 0, size;
	u16 flags = 0;
	u64 cgroup;

	if (!tsk)
		return 0;
	if (scope == SCOPE_TREE ? !of_tree(tsk) : !in_scope_undescribed(tsk))
		return 0;
	cgroup = name_cgroup(tsk);
	s = bpf_map_lookup_elem(&scratch, &slot);
	if (!s)
		return 0;
	fill(&s->d.rec, TW_TASK, (u32)tsk->exit_code, tsk, cgroup);
	fs = GET(tsk, struct task_struct, fs);
	mm = GET(tsk, struct task_struct, mm);
	if (fs && mm && !(s->d.rec.flags & TW_KTHREAD)) {
		exe = store_path(slot, 0, program_path(mm), fs, TW_EXE_GONE, TW_EXE_CUT, &flags);
		cwd = store_path(slot, exe, cwd_path(fs), fs, TW_CWD_GONE, TW_CWD_CUT, &flags);
	}
	if (!mm && !(s->d.rec.flags & TW_KTHREAD))
		flags |= TW_EXE_CUT | TW_CWD_CUT; /* it has neither any more */
	s->d.rec.flags |= flags;
	if (tsk->exit_state) /* PF_EXITING comes before the event, for as long as others run */
		s->d.rec.flags |= TW_EXITED;
	else if (tsk->flags & PF_EXITING)
		s->d.rec.flags |= TW_EXITING;
	s->d.exe_len = exe;
	s->d.cwd_len = cwd;
	s->d.argv_len = 0;
	s->d.argv_off = 0;
	size = clamp(sizeof(s->d) + exe + cwd, sizeof(s->d) + 2 * PATH_ROOM);
	bpf_seq_write(seq, s, size);
	return 0;
}

#endif
