/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Errors of watchers in the kernel, and records that modules send. */
#ifndef TASKWATCH_STREAM_REPORT_H
#define TASKWATCH_STREAM_REPORT_H

#include "about.h"
#include "arguments.h"
#include "cgroup.h"
#include "dir.h"
#include "fill.h"
#include "path.h"
#include "ring.h"
#include "scope.h"
#include "scratch.h"
#include "syscall.h"

/*
 * The program of an exec. While it is only asked for, its arguments are where
 * the caller has them; afterwards, and in a denial that comes too late, the
 * task has them.
 */
static __always_inline void store_exec(struct scratch *s, u32 slot, struct task_struct *tsk, struct linux_binprm *bprm)
{
	struct arg_walk args = {.s = s};
	struct mm_struct *mm = NULL;
	struct file *file = NULL;
	u16 flags = 0;
	struct fs_struct *fs = GET(tsk, struct task_struct, fs);
	u32 exe, cwd, len;

	READ(mm, bprm, struct linux_binprm, mm);
	if (mm) {
		READ(file, bprm, struct linux_binprm, file);
		flags |= TW_WANTED;
	} else {
		mm = GET(tsk, struct task_struct, mm);
		if (!mm) {
			s->d.rec.flags |= TW_EXE_CUT | TW_CWD_CUT | TW_ARGV_CUT;
			return;
		}
		READ(file, mm, struct mm_struct, exe_file);
	}
	exe = store_path(slot, 0, (void *)file + field_offset(struct file, f_path), fs, TW_EXE_GONE, TW_EXE_CUT, &flags);
	cwd = store_path(slot, exe, cwd_path(fs), fs, TW_CWD_GONE, TW_CWD_CUT, &flags);
	s->off = exe + cwd;
	if (flags & TW_WANTED) {
		struct exec_wanted wanted = {};

		if (exec_wanted(&wanted, tsk, bpf_task_pt_regs(tsk))) {
			args.argv = wanted.argv;
			args.word = wanted.word;
			bpf_loop(ARGV_CHUNK, next_arg, &args, 0);
		}
		len = clamp(s->off - exe - cwd, sizeof(s->data));
	} else {
		u64 start = 0, end = 0;

		READ(start, mm, struct mm_struct, arg_start);
		READ(end, mm, struct mm_struct, arg_end);
		args.done = end - start <= ARGV_CHUNK;
		len = clamp(end - start, ARGV_CHUNK);
		if (bpf_probe_read_user(s->data + exe + cwd, len, (void *)start)) {
			args.done = 0;
			len = 0;
		}
	}
	if (!args.done)
		flags |= TW_ARGV_CUT;
	s->d.rec.flags |= flags;
	s->d.exe_len = exe;
	s->d.cwd_len = cwd;
	s->d.argv_len = len;
}

/*
 * No scratch can be claimed if tasks that use them were preempted, which can
 * happen in a hook of an LSM: then the program is told as unknown.
 */
static __noinline int report_exec(u64 who, int err, struct task_struct *tsk, struct linux_binprm *bprm)
{
	u32 slot = claim(), size;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &slot);

	if (!slot || !s)
		return 0;
	fill(&s->d.rec, TW_REPORT, who, tsk, cgroup_of(tsk));
	s->d.argv_off = -err;
	s->d.exe_len = 0;
	s->d.cwd_len = 0;
	s->d.argv_len = 0;
	store_exec(s, slot, tsk, bprm);
	size = clamp(sizeof(s->d) + s->d.exe_len + s->d.cwd_len + s->d.argv_len, sizeof(*s));
	if (bpf_ringbuf_output(&ring, s, size, wake(1)))
		lose(TW_REPORT);
	s->busy = 0;
	return 1;
}

struct plain_report {
	struct tw_data d;
	union {
		struct task_ids ids;
		u64 creator;
	};
};

/* Set before the load: what modules say about tasks out of scope is left out. */
const volatile u32 own_only;

static __always_inline int left_out(struct task_struct *tsk)
{
	return own_only && !is_marked(tsk) && !is_marked(bpf_get_current_task_btf());
}

/*
 * Sends where the task of a report is, and returns the number of that if it has one.
 * A task that has just been made is where its creator is.
 */
static __always_inline u64 name_subject(struct task_struct *tsk, u32 event)
{
	struct task_struct *where = tsk;

	if (event == TW_INIT || event == TW_CLONE)
		where = bpf_get_current_task_btf();
	if (!is_stranger(tsk) || !is_stranger(where))
		return name_dir(tsk, TW_REPORT);
	send_about(tsk, where, about(where, TW_REPORT, 1));
	return 0;
}

/* Called by the table behind each watcher that failed. */
SEC(".task_watchers.report")
int report(unsigned long val, struct task_struct *tsk, u64 who, int err, void *detail)
{
	u32 event = who >> 40;
	struct plain_report *r;
	u64 cgroup = 0, dir = 0;

	if (left_out(tsk))
		return 0;
	if (event != TW_FREE) /* by then it has left it */
		cgroup = name_cgroup(tsk);
	if (event == TW_EXEC && report_exec(who, err, tsk, detail))
		return 0;
	if (event != TW_FREE)
		dir = name_subject(tsk, event);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		lose(TW_REPORT);
		return 0;
	}
	fill(&r->d.rec, TW_REPORT, who, tsk, cgroup);
	r->d.rec.dir = dir;
	r->d.rec.creator = val;
	r->d.argv_off = -err;
	r->d.exe_len = 0;
	r->d.cwd_len = 0;
	r->d.argv_len = 0;
	if (event == TW_EXEC)
		r->d.rec.flags |= TW_EXE_CUT | TW_CWD_CUT | TW_ARGV_CUT;
	if ((event == TW_UID || event == TW_GID) && !bpf_probe_read_kernel(&r->ids, sizeof(r->ids), detail))
		r->d.argv_len = sizeof(r->ids);
	if (event == TW_INIT) {
		r->creator = (u64)bpf_get_current_task_btf();
		r->d.argv_len = sizeof(r->creator);
	}
	bpf_ringbuf_submit(r, wake(1));
	return 0;
}

#define EMIT_MAX 4096
#define EMIT_LOG (1u << 31) /* in a type: kernel.EmitLog */

/* Of the ring, for records of modules: the other half is for events alone. */
#define EMIT_SHARE (4 << 20)

/* Called by the table for task_watcher_emit(), and with a type for
 * task_watcher_emit_struct() and task_watcher_log(). */
SEC(".task_watchers.emit")
long emit(u32 module, void *data, u32 size, u32 type)
{
	struct bpf_dynptr ptr;
	struct tw_data *d = NULL;

	if (size > EMIT_MAX)
		return -E2BIG;
	if (left_out(bpf_get_current_task_btf()))
		return 0;
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) > EMIT_SHARE) {
		lose(TW_EMIT);
		return -ENOBUFS;
	}
	if (!(type & EMIT_LOG)) {
		name_cgroup(bpf_get_current_task_btf());
		send_about(bpf_get_current_task_btf(), bpf_get_current_task_btf(),
			   about(bpf_get_current_task_btf(), TW_EMIT, is_stranger(bpf_get_current_task_btf())));
	}
	if (!bpf_ringbuf_reserve_dynptr(&ring, sizeof(*d) + size, 0, &ptr))
		d = bpf_dynptr_data(&ptr, 0, sizeof(*d));
	if (!d) {
		bpf_ringbuf_discard_dynptr(&ptr, BPF_RB_NO_WAKEUP);
		lose(TW_EMIT);
		return -ENOBUFS;
	}
	/* What is not needed any more takes no stack meanwhile. */
	d->exe_len = 0;
	d->cwd_len = 0;
	d->argv_len = size;
	d->argv_off = type;
	bpf_dynptr_write(&ptr, sizeof(*d), data, size, 0);
	fill(&d->rec, TW_EMIT, module, bpf_get_current_task_btf(), cgroup_of(bpf_get_current_task_btf()));
	bpf_ringbuf_submit_dynptr(&ptr, wake(1));
	return 0;
}

#endif
