/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auditrec: what the kernel's audit would write of the tasks that a rule chooses,
 * as records: execs, changes of ids, exits, and ends by a signal that dumps core.
 * taskwatch writes them as ausearch and aureport read them.
 *
 * Whether a task is recorded is decided at init, for one that exists at attach,
 * and again at an exec and at a change of user ids; from then on it is, and so are
 * its descendants.
 */
#include "task_watchers.h"

#define LIST 16
#define EXE_MAX 128
#define KEY_MAX 32

module_param_array(auid, __u32, LIST);
MODULE_PARM_DESC(auid, "record tasks of these login users, as auid=1000:1001; without one, of all");
module_param_array(uid, __u32, LIST);
MODULE_PARM_DESC(uid, "and with these real user ids; without one, of all");
module_param_string(exe, EXE_MAX, "");
MODULE_PARM_DESC(exe, "and whose program's path begins with this");
module_param_string(key, KEY_MAX, "");
MODULE_PARM_DESC(key, "the key of the records, for ausearch -k");

__u64 dropped; /* records that the stream had no room for */
__u64 busy;    /* records, and decisions by exe, that were not made because all memory was in use */

#define KIND_EXEC 1
#define KIND_IDS 2
#define KIND_EXIT 3
#define KIND_ABEND 4

/* As package sink/audit reads it. A length below 0 is an errno; one that
 * is not less than the room says that the text was cut. */
struct entry {
	__u32 kind;
	__u32 arch; /* AUDIT_ARCH_*, or 0 where it is unknown */
	__s32 call; /* the number of the system call */
	__s32 result;
	__u32 has_result;
	__u32 pid, ppid;
	__u32 auid, session;
	__u32 uid[4], gid[4];
	__u32 status;
	__u32 argc;
	__s32 exe_len, name_len, cwd_len, args_len, tty_len;
	char comm[16];
	char tty[32];
	char key[KEY_MAX];
	__u64 arg[4]; /* of the system call */
	__u32 has_args;
	__u32 reserved[11];
	char exe[768];
	char name[768];
	char cwd[768];
	char args[1536];
};

/* Of the path of a program that is kept for its exit. */
#define KEPT_MAX 256

#define FEW_ARGS 256
#define EXE_SIZE (256 + 768)
#define FEW_SIZE (4096 - 1536 + FEW_ARGS)

_Static_assert(sizeof(struct entry) == 4096 && __builtin_offsetof(struct entry, exe) == 256, "");

/* exe is the path of the program, which a task that exits has given up before
 * Linux 6.16. Its length is as in struct entry. */
struct choice {
	__u32 recorded;
	__s32 exe_len;
	char exe[KEPT_MAX];
};
task_storage(choices, struct choice);

/* Memory for a record while it is made. A watcher may be preempted then, so there
 * is more than one for each processor. */
task_scratch(entries, struct entry, 128);

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs___args_x86 {
	unsigned long r10, bx, cx, dx, si, di;
};
struct pt_regs___args_arm64 {
	__u64 regs[31];
	__u64 orig_x0;
};
struct mm_struct___auditrec {
	unsigned long arg_start, arg_end;
};
#pragma clang attribute pop

static __always_inline bool listed(const volatile __u32 *list, __u32 count, __u32 id)
{
	bool found = !count;

	for (__u32 i = 0; i < LIST; i++)
		if (i < count && list[i] == id)
			found = true;
	return found;
}

static __always_inline struct entry *take(void)
{
	struct entry *e = entries_claim();

	if (!e)
		__sync_fetch_and_add(&busy, 1);
	return e;
}

static __always_inline bool chosen(struct task_struct *tsk, __u32 real)
{
	struct entry *e;
	bool begins;

	if (!listed(auid, auid_count, task_auid(tsk)) || !listed(uid, uid_count, real))
		return false;
	if (!exe[0])
		return true;
	e = take();
	if (!e)
		return false;
	task_exe(tsk, e->exe, sizeof(e->exe));
	begins = task_string_begins(e->exe, EXE_MAX, exe);
	entries_release(e);
	return begins;
}

/* recorded - whether the task is recorded, which is decided if it was not before */
static __always_inline bool recorded(struct task_struct *tsk, __u32 real)
{
	struct choice *c = choices_get(tsk);

	if (c && c->recorded)
		return true;
	if (!chosen(tsk, real))
		return false;
	c = choices_create(tsk);
	if (c) {
		c->recorded = 1;
		c->exe_len = task_exe(tsk, c->exe, sizeof(c->exe));
	}
	return true;
}

static int born(unsigned long flags, struct task_struct *tsk)
{
	if (!choices_inherit(tsk))
		recorded(tsk, task_uid(tsk));
	return 0;
}
task_watcher_func(init, born);

static int existed(unsigned long zero, struct task_struct *tsk)
{
	recorded(tsk, task_uid(tsk));
	return 0;
}
task_watcher_func(attach, existed);

/* find_call - the system call that the task is in */
static __always_inline void find_call(struct entry *e, struct task_struct *tsk)
{
	void *from = bpf_task_pt_regs(tsk);

	if (kernel_has(struct pt_regs___x86, orig_ax)) {
		__u32 status = kernel_read(((struct task_struct___x86 *)tsk)->thread_info.status);

		e->arch = status & TW_TS_COMPAT ? 0x40000003 : 0xc000003e;
		e->call = kernel_read(((struct pt_regs___x86 *)from)->orig_ax);
	} else if (kernel_has(struct pt_regs___arm64, syscallno)) {
		unsigned long flags = kernel_read(((struct task_struct___arm64 *)tsk)->thread_info.flags);

		e->arch = flags & TW_TIF_32BIT ? 0x40000028 : 0xc00000b7;
		e->call = kernel_read(((struct pt_regs___arm64 *)from)->syscallno);
	} else {
		e->arch = 0;
		e->call = -1;
	}
}

/* find_args - the arguments of that call, which it still has where it is no exec */
static __always_inline void find_args(struct entry *e, struct task_struct *tsk)
{
	struct pt_regs___args_x86 *x86 = bpf_task_pt_regs(tsk);
	struct pt_regs___args_arm64 *arm64 = (void *)x86;
	bool native = e->arch == 0xc000003e;

	e->has_args = e->arch != 0;
	if (kernel_has(struct pt_regs___args_x86, di)) {
		e->arg[0] = native ? kernel_read(x86->di) : kernel_read(x86->bx);
		e->arg[1] = native ? kernel_read(x86->si) : kernel_read(x86->cx);
		e->arg[2] = kernel_read(x86->dx);
		e->arg[3] = native ? kernel_read(x86->r10) : kernel_read(x86->si);
	} else if (kernel_has(struct pt_regs___args_arm64, orig_x0)) {
		e->arg[0] = kernel_read(arm64->orig_x0);
		e->arg[1] = kernel_read(arm64->regs[1]);
		e->arg[2] = kernel_read(arm64->regs[2]);
		e->arg[3] = kernel_read(arm64->regs[3]);
	}
}

/* begin - a record with what all have, or NULL */
static __always_inline struct entry *begin(struct task_struct *tsk, __u32 kind)
{
	struct entry *e = take();
	const struct cred *cred = tsk->cred;

	if (!e)
		return 0;
	__builtin_memset(e, 0, 256);
	e->kind = kind;
	find_call(e, tsk);
	e->pid = task_pid(tsk);
	e->ppid = task_ppid(tsk);
	e->auid = task_auid(tsk);
	e->session = task_sessionid(tsk);
	e->uid[TASK_ID_REAL] = cred->uid.val;
	e->uid[TASK_ID_EFFECTIVE] = cred->euid.val;
	e->uid[TASK_ID_SAVED] = cred->suid.val;
	e->uid[TASK_ID_FS] = cred->fsuid.val;
	e->gid[TASK_ID_REAL] = cred->gid.val;
	e->gid[TASK_ID_EFFECTIVE] = cred->egid.val;
	e->gid[TASK_ID_SAVED] = cred->sgid.val;
	e->gid[TASK_ID_FS] = cred->fsgid.val;
	task_comm(tsk, e->comm);
	e->tty_len = task_tty(tsk, e->tty, sizeof(e->tty));
	for (__u32 i = 0; i < KEY_MAX; i++)
		e->key[i] = key[i];
	e->exe_len = task_exe(tsk, e->exe, sizeof(e->exe));
	return e;
}

/* keep - keep the path of the program that the task runs now, of which e may be NULL */
static __always_inline void keep(struct choice *c, const struct entry *e)
{
	if (!c)
		return;
	c->exe_len = e ? e->exe_len : -TW_ENOENT;
	if (e)
		__builtin_memcpy(c->exe, e->exe, KEPT_MAX);
}

/* add_kept - the path that was kept, where the task has given it up */
static __always_inline void add_kept(struct entry *e, const struct choice *c)
{
	if (e->exe_len >= 0 || c->exe_len < 0 || c->exe_len >= KEPT_MAX)
		return;
	__builtin_memcpy(e->exe, c->exe, KEPT_MAX);
	e->exe_len = c->exe_len;
}

static __always_inline void end(struct entry *e, long failed)
{
	if (failed)
		__sync_fetch_and_add(&dropped, 1);
	entries_release(e);
}

static __always_inline void end_short(struct entry *e)
{
	end(e, task_watcher_emit(e, EXE_SIZE));
}

static int executed(unsigned long zero, struct task_struct *tsk, struct linux_binprm *bprm)
{
	struct mm_struct___auditrec *mm;
	unsigned long from, n;
	struct entry *e;

	if (!recorded(tsk, task_uid(tsk)))
		return 0;
	e = begin(tsk, KIND_EXEC);
	keep(choices_get(tsk), e);
	if (!e)
		return 0;
	e->has_result = 1;
	e->name_len = (int)bpf_probe_read_kernel_str(e->name, sizeof(e->name), kernel_read(bprm->filename)) - 1;
	e->cwd_len = task_cwd(tsk, e->cwd, sizeof(e->cwd));
	e->argc = kernel_read(bprm->argc);
	mm = (void *)kernel_read(tsk->mm);
	from = kernel_read(mm->arg_start);
	n = kernel_read(mm->arg_end) - from;
	e->args_len = n < 1 << 30 ? n : -TW_EFAULT;
	if (n > sizeof(e->args))
		n = sizeof(e->args);
	asm volatile("" : "+r"(n));
	if (n > sizeof(e->args))
		n = 0; /* which the verifier cannot know */
	if (bpf_probe_read_user(e->args, n, (void *)from))
		e->args_len = -TW_EFAULT;
	end(e, e->args_len <= FEW_ARGS ? task_watcher_emit(e, FEW_SIZE) : task_watcher_emit(e, sizeof(*e)));
	return 0;
}
task_exec_watcher_func(executed);

static __always_inline bool is_setfsid(struct entry *e)
{
	return e->arch == 0xc000003e ? e->call == 122 || e->call == 123 :
	       e->arch == 0xc00000b7 ? e->call == 151 || e->call == 152 :
				       e->call == 138 || e->call == 139 || e->call == 215 || e->call == 216;
}

static __always_inline int changed(struct task_struct *tsk, const struct task_ids *ids, bool user)
{
	struct entry *e;

	if (!recorded(tsk, user ? ids->now[TASK_ID_REAL] : task_uid(tsk)))
		return 0;
	if (ids->cause != TASK_CAUSE_SYSCALL && ids->cause != TASK_CAUSE_SETGROUPS)
		return 0; /* the record of the exec has the new ids */
	e = begin(tsk, KIND_IDS);
	if (!e)
		return 0;
	for (int i = 0; i < 4; i++) {
		if (user)
			e->uid[i] = ids->now[i];
		else
			e->gid[i] = ids->now[i];
	}
	find_args(e, tsk);
	e->has_result = 1;
	if (is_setfsid(e))
		e->result = ids->old[TASK_ID_FS]; /* what it returns */
	end_short(e);
	return 0;
}

static int uid_changed(unsigned long zero, struct task_struct *tsk, const struct task_ids *ids)
{
	return changed(tsk, ids, true);
}
task_ids_watcher_func(uid, uid_changed);

static int gid_changed(unsigned long zero, struct task_struct *tsk, const struct task_ids *ids)
{
	return changed(tsk, ids, false);
}
task_ids_watcher_func(gid, gid_changed);

static __always_inline bool calls_exit(struct entry *e)
{
	return e->arch == 0xc000003e ? e->call == 60 || e->call == 231 :
	       e->arch == 0xc00000b7 ? e->call == 93 || e->call == 94 :
				       e->call == 1 || e->call == 248 || e->call == 252;
}

/* Signals that dump core: QUIT, ILL, TRAP, ABRT, BUS, FPE, SEGV, XCPU, XFSZ, SYS. */
#define CORE_SIGNALS (1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 11 | 1u << 24 | 1u << 25 | 1u << 31)

static int exited(unsigned long code, struct task_struct *tsk)
{
	struct choice *c = choices_get(tsk);
	__u32 signal = code & 0x7f;
	struct entry *e;

	if (!c || !c->recorded)
		return 0;
	if (signal && (!task_is_leader(tsk) || signal > 31 || !(CORE_SIGNALS >> signal & 1)))
		return 0;
	e = begin(tsk, signal ? KIND_ABEND : KIND_EXIT);
	if (!e)
		return 0;
	e->status = code;
	add_kept(e, c);
	find_args(e, tsk);
	if (signal || calls_exit(e))
		end_short(e);
	else
		end(e, 0);
	return 0;
}
task_watcher_func(exit, exited);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("audit records of execs, ids and exits, by rule");
