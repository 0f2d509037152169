/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The optional fields of a task: a record before that of the event. */
#ifndef TASKWATCH_STREAM_EXTRA_H
#define TASKWATCH_STREAM_EXTRA_H

#include "fill.h"
#include "gained.h"
#include "path.h"
#include "ring.h"
#include "scratch.h"

#define AT_SECURE 23

/* Set before the load: groups of fields that nobody will read. The verifier leaves out what gathers them. */
const volatile u32 never_wanted;

/*
 * Sends the path of a program from the root of its mount namespace, and of its
 * environment as much as fits into a piece. What cannot be read, or is lost,
 * shows as missing.
 */
static __noinline void send_program(struct task_struct *tsk, struct mm_struct *mm, struct scratch *s, u32 slot)
{
	u32 wanted = control.wanted & ~never_wanted, exe = 0, len, size;
	u16 flags = 0;
	u64 n = 0;

	if (!(wanted & (WANT_ENV | WANT_HOST)))
		return;
	fill_head(&s->d.rec, TW_PROGRAM, 0, 0, tsk);
	if (wanted & WANT_HOST)
		exe = store_path(slot, 0, program_path(mm), NULL, TW_EXE_GONE, TW_EXE_CUT, &flags);
	else
		flags |= TW_EXE_CUT;
	if (wanted & WANT_ENV)
		n = GET(mm, struct mm_struct, env_end) - GET(mm, struct mm_struct, env_start);
	else
		flags |= TW_ARGV_LEFT;
	if (n > ARGV_CHUNK) {
		flags |= TW_ARGV_CUT;
		n = ARGV_CHUNK;
	}
	len = clamp(n, ARGV_CHUNK);
	if (bpf_probe_read_user(s->data + exe, len, (void *)GET(mm, struct mm_struct, env_start))) {
		flags |= TW_ARGV_LEFT;
		len = 0;
	}
	s->d.rec.flags = flags;
	s->d.exe_len = exe;
	s->d.cwd_len = 0;
	s->d.argv_len = len;
	s->d.argv_off = 0;
	size = clamp(sizeof(s->d) + exe + len, sizeof(s->d) + PATH_ROOM + ARGV_CHUNK);
	if (bpf_ringbuf_output(&ring, s, size, BPF_RB_NO_WAKEUP))
		lose(TW_PROGRAM);
}

/* Looks for AT_SECURE in what a program of the machine's own word size was given. */
static __always_inline void fill_secure(struct tw_extra *x, struct mm_struct *mm)
{
	void *from = (void *)mm + field_offset(struct mm_struct, saved_auxv);

	for (int i = 0; i < 24; i++) {
		u64 pair[2];

		if (bpf_probe_read_kernel(pair, sizeof(pair), from + i * sizeof(pair)) || !pair[0])
			break;
		if (pair[0] == AT_SECURE) {
			x->secure = pair[1] != 0;
			x->has |= TW_HAS_SECURE;
			break;
		}
	}
}

static __always_inline void fill_groups(struct tw_extra *x, void *groups)
{
	u32 n;

	if (TRY_READ(n, groups, struct group_info, ngroups))
		return;
	x->ngroups = n;
	if (n > TW_GROUPS)
		return;
	asm volatile("" : "+r"(n));
	if (n > TW_GROUPS) /* for the verifier */
		return;
	if (!bpf_probe_read_kernel(x->groups, n * sizeof(u32), groups + field_offset(struct group_info, gid)))
		x->has |= TW_HAS_GROUPS;
}

static __always_inline u32 terminal(struct task_struct *tsk)
{
	struct tty_struct *tty = GET(GET(tsk, struct task_struct, signal), struct signal_struct, tty);
	struct tty_driver *driver;

	if (!tty)
		return 0;
	driver = GET(tty, struct tty_struct, driver);
	return GET(driver, struct tty_driver, major) << 20 |
	       (GET(driver, struct tty_driver, minor_start) + GET(tty, struct tty_struct, index));
}

/* The process id of the leader of its session, in the first pid namespace. */
static __always_inline u32 session(struct task_struct *tsk)
{
	void *signal = GET(tsk, struct task_struct, signal);
	void *sid = AT(void *, signal + field_offset(struct signal_struct, pids) + 3 * sizeof(sid));

	return AT(u32, sid + field_offset(struct pid, numbers));
}

/*
 * The label of a process, of 16 bytes and its form, as far as a module has labels:
 * the table puts that module's function in the place of this one. Returns whether
 * there is one.
 */
static __noinline int task_label(struct task_struct *tsk, u64 *label, u32 *form)
{
	int none = 0;

	asm volatile("" : "+r"(none) : "r"(tsk), "r"(label), "r"(form) : "memory");
	return none;
}

/*
 * Sends what somebody reads of the optional fields. A loss shows as missing. What
 * only an exec has is no part of the other programs, which load the faster. groups
 * is the list that the task is going to have, or NULL for the one that it has.
 */
static __noinline void send_extra(struct task_struct *tsk, u16 kind, void *groups)
{
	const struct cred *cred;
	struct nsproxy *ns;
	struct mm_struct *mm;
	struct file *exe;
	struct tw_extra *x;
	struct upid upid = {};
	struct pid *pid;
	u32 form = 0, wanted;
	u64 label[2] = {};
	int labelled;

	wanted = control.wanted & ~never_wanted;
	if (!(wanted & (WANT_EXTRA | WANT_GAINED | WANT_LABEL)))
		return;
	labelled = wanted & WANT_LABEL && task_label(tsk, label, &form);
	if (!labelled && !(wanted & (WANT_EXTRA | WANT_GAINED)))
		return; /* a label is missing where no module has labels */
	x = bpf_ringbuf_reserve(&ring, sizeof(*x), 0);
	if (!x) {
		lose(TW_EXTRA);
		return;
	}
	fill_head(&x->rec, TW_EXTRA, 0, 0, tsk);
	cred = GET(tsk, struct task_struct, cred);
	x->auid = 0;
	x->sessionid = 0;
	x->has = 0;
	if (field_exists(struct task_struct, loginuid)) {
		x->auid = tsk->loginuid.val;
		x->sessionid = tsk->sessionid;
		x->has |= TW_HAS_AUDIT;
	}
	x->effective = caps(cred, field_offset(struct cred, cap_effective));
	x->permitted = caps(cred, field_offset(struct cred, cap_permitted));
	x->inheritable = caps(cred, field_offset(struct cred, cap_inheritable));
	x->bounding = caps(cred, field_offset(struct cred, cap_bset));
	x->ambient = caps(cred, field_offset(struct cred, cap_ambient));
	x->ns_user = GET(GET(cred, struct cred, user_ns), struct user_namespace, ns.inum);
	x->ns_mnt = 0;
	x->ns_net = 0;
	ns = GET(tsk, struct task_struct, nsproxy);
	if (ns) { /* an exiting task may have left them */
		x->ns_mnt = GET(GET(ns, struct nsproxy, mnt_ns), struct mnt_namespace, ns.inum);
		x->ns_net = GET(GET(ns, struct nsproxy, net_ns), struct net, ns.inum);
		x->has |= TW_HAS_NS;
	}
	x->ns_pid = 0;
	x->vpid = 0;
	pid = GET(tsk, struct task_struct, thread_pid);
	if (pid) {
		u32 level = GET(pid, struct pid, level);
		struct pid_namespace *in;

		bpf_probe_read_kernel(&upid, sizeof(upid),
				      (void *)pid + field_offset(struct pid, numbers) + (u64)(level & 63) * sizeof(upid));
		x->vpid = upid.nr;
		in = upid.ns;
		if (in && !TRY_READ(x->ns_pid, in, struct pid_namespace, ns.inum))
			x->has |= TW_HAS_PID;
	}
	x->exe_dev = 0;
	x->exe_ino = 0;
	mm = kind == TW_EXEC ? GET(tsk, struct task_struct, mm) : NULL;
	exe = mm ? GET(mm, struct mm_struct, exe_file) : NULL;
	if (exe) {
		struct inode *inode = GET(exe, struct file, f_inode);

		x->exe_ino = GET(inode, struct inode, i_ino);
		x->exe_dev = GET(GET(inode, struct inode, i_sb), struct super_block, s_dev);
		x->has |= TW_HAS_EXE;
	}
	x->tty = terminal(tsk);
	x->sid = session(tsk);
	x->reserved = 0;
	x->secure = 0;
	if (mm)
		fill_secure(x, mm);
	x->nice = tsk->static_prio - 120; /* MAX_RT_PRIO and half of NICE_WIDTH */
	x->label_form = form;
	x->label[0] = label[0];
	x->label[1] = label[1];
	if (labelled)
		x->has |= TW_HAS_LABEL;
	x->gained = 0;
	if (kind == TW_EXEC && control.wanted & WANT_GAINED)
		fill_gained(x, tsk);
	x->ngroups = 0;
	if (kind == TW_EXEC || kind == TW_GID)
		fill_groups(x, groups ? groups : (void *)GET(cred, struct cred, group_info));
	bpf_ringbuf_submit(x, BPF_RB_NO_WAKEUP);
}

#endif
