/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * auditrec: what the kernel's audit would write of the tasks that a rule chooses,
 * as records: execs, changes of ids, exits, and ends by a signal that dumps core.
 * taskwatch writes them as ausearch and aureport read them.
 *
 * Whether a task is recorded is decided when it is made, for one that exists at
 * attach, and again at an exec and at a change of user ids; from then on it is, and so
 * are its descendants.
 *
 * A task that is not recorded costs a lookup at clone, and one at exit.
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
__u64 full;    /* tasks that there was no room for, so that neither their exit nor descendants are recorded */

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

/* Of a task that is recorded. exe is the path of the program, which is long to find, and
 * which a task that exits has given up before Linux 6.16. Its length is as in struct
 * entry. */
struct choice {
	__s32 exe_len;
	char exe[KEPT_MAX];
};
task_table(choices, struct choice, 131072);

MODULE_ATTACH_AT_LEAST_ONCE;

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

/* auid_of - task_auid(), of a task that the verifier knows */
static __always_inline __u32 auid_of(struct task_struct *tsk)
{
	struct task_struct___audit *audit = (void *)tsk;

	return kernel_has(struct task_struct___audit, loginuid) ? audit->loginuid.val : ~0u;
}

static __always_inline __u32 session_of(struct task_struct *tsk)
{
	struct task_struct___audit *audit = (void *)tsk;

	return kernel_has(struct task_struct___audit, sessionid) ? audit->sessionid : ~0u;
}

static __always_inline bool chosen(struct task_struct *tsk, __u32 real)
{
	struct entry *e;
	bool begins;

	if (!listed(auid, auid_count, auid_of(tsk)) || !listed(uid, uid_count, real))
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

/*
 * recorded - whether the task is recorded, which is decided if it was not before
 * @c: gets its choice, or NULL: also of a recorded task, where there is no room
 */
static __always_inline bool recorded(struct task_struct *tsk, __u32 real, struct choice **c)
{
	*c = choices_get(tsk);
	if (*c)
		return true;
	if (!chosen(tsk, real))
		return false;
	*c = choices_create(tsk);
	if (*c)
		(*c)->exe_len = task_exe(tsk, (*c)->exe, sizeof((*c)->exe));
	else
		__sync_fetch_and_add(&full, 1);
	return true;
}

/*
 * A new task is as its maker, about whom was decided at its exec and when its user ids
 * changed. Its login user can have changed since.
 */
static int born(unsigned long flags, struct task_struct *tsk)
{
	struct choice *c;

	if (!choices_inherit(tsk) && (auid_count || (!uid_count && !exe[0])))
		recorded(tsk, task_uid(tsk), &c);
	return 0;
}
task_watcher_func(clone, born);

static int existed(unsigned long zero, struct task_struct *tsk)
{
	struct choice *c;

	if (!tsk->exit_state) /* else its exit was before */
		recorded(tsk, task_uid(tsk), &c);
	return 0;
}
task_watcher_func(attach, existed);

/* call - the system call that a task is in */
struct call {
	__u32 arch; /* as in struct entry */
	__s32 number;
};

static __always_inline struct call find_call(struct task_struct *tsk)
{
	void *from = bpf_task_pt_regs(tsk);
	struct call c = {.number = -1};

	if (kernel_has(struct pt_regs___x86, orig_ax)) {
		__u32 status = ((struct task_struct___x86 *)tsk)->thread_info.status;

		c.arch = status & TW_TS_COMPAT ? 0x40000003 : 0xc000003e;
		c.number = ((struct pt_regs___x86 *)from)->orig_ax;
	} else if (kernel_has(struct pt_regs___arm64, syscallno)) {
		unsigned long flags = ((struct task_struct___arm64 *)tsk)->thread_info.flags;

		c.arch = flags & TW_TIF_32BIT ? 0x40000028 : 0xc00000b7;
		c.number = ((struct pt_regs___arm64 *)from)->syscallno;
	}
	return c;
}

/* find_args - the arguments of that call, which it still has where it is no exec */
static __always_inline void find_args(struct entry *e, struct task_struct *tsk)
{
	struct pt_regs___args_x86 *x86 = bpf_task_pt_regs(tsk);
	struct pt_regs___args_arm64 *arm64 = (void *)x86;
	bool native = e->arch == 0xc000003e;

	e->has_args = e->arch != 0;
	if (kernel_has(struct pt_regs___args_x86, di)) {
		e->arg[0] = native ? x86->di : x86->bx;
		e->arg[1] = native ? x86->si : x86->cx;
		e->arg[2] = x86->dx;
		e->arg[3] = native ? x86->r10 : x86->si;
	} else if (kernel_has(struct pt_regs___args_arm64, orig_x0)) {
		e->arg[0] = arm64->orig_x0;
		e->arg[1] = arm64->regs[1];
		e->arg[2] = arm64->regs[2];
		e->arg[3] = arm64->regs[3];
	}
}

/* find_exe - the path of the program: that which was kept, which is quicker, or else as it is now */
static __always_inline void find_exe(struct entry *e, struct task_struct *tsk, const struct choice *c)
{
	if (c && c->exe_len >= 0 && c->exe_len < KEPT_MAX) {
		__builtin_memcpy(e->exe, c->exe, KEPT_MAX);
		e->exe_len = c->exe_len;
	} else {
		e->exe_len = task_exe(tsk, e->exe, sizeof(e->exe));
	}
}

/* begin - a record with what all have but for exe, or NULL */
static __always_inline struct entry *begin(struct task_struct *tsk, __u32 kind, struct call call)
{
	struct signal_struct___tty *signal = (void *)tsk->signal;
	const __u64 *comm = (const void *)&tsk->comm;
	struct entry *e = take();
	const struct cred *cred = tsk->cred;

	if (!e)
		return 0;
	__builtin_memset(e, 0, 256);
	e->kind = kind;
	e->arch = call.arch;
	e->call = call.number;
	e->pid = task_pid(tsk);
	e->ppid = task_ppid(tsk);
	e->auid = auid_of(tsk);
	e->session = session_of(tsk);
	e->uid[TASK_ID_REAL] = cred->uid.val;
	e->uid[TASK_ID_EFFECTIVE] = cred->euid.val;
	e->uid[TASK_ID_SAVED] = cred->suid.val;
	e->uid[TASK_ID_FS] = cred->fsuid.val;
	e->gid[TASK_ID_REAL] = cred->gid.val;
	e->gid[TASK_ID_EFFECTIVE] = cred->egid.val;
	e->gid[TASK_ID_SAVED] = cred->sgid.val;
	e->gid[TASK_ID_FS] = cred->fsgid.val;
	((__u64 *)e->comm)[0] = comm[0];
	((__u64 *)e->comm)[1] = comm[1];
	if (kernel_has(struct signal_struct___tty, tty) && signal->tty)
		e->tty_len = task_tty(tsk, e->tty, sizeof(e->tty));
	for (__u32 i = 0; i < KEY_MAX / 8; i++)
		((__u64 *)e->key)[i] = ((const volatile __u64 *)key)[i];
	return e;
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
	struct choice *c;
	struct entry *e;

	if (!recorded(tsk, task_uid(tsk), &c))
		return 0;
	e = begin(tsk, KIND_EXEC, find_call(tsk));
	if (c)
		c->exe_len = -TW_ENOENT; /* that of the program before */
	if (!e)
		return 0;
	e->exe_len = task_exe(tsk, e->exe, sizeof(e->exe));
	if (c) {
		c->exe_len = e->exe_len;
		__builtin_memcpy(c->exe, e->exe, KEPT_MAX);
	}
	e->has_result = 1;
	e->name_len = (int)bpf_probe_read_kernel_str(e->name, sizeof(e->name), kernel_read(bprm->filename)) - 1;
	e->cwd_len = task_cwd(tsk, e->cwd, sizeof(e->cwd));
	e->argc = kernel_read(bprm->argc);
	mm = (void *)tsk->mm;
	from = mm->arg_start;
	n = mm->arg_end - from;
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

static __always_inline bool is_setfsid(const struct entry *e)
{
	return e->arch == 0xc000003e ? e->call == 122 || e->call == 123 :
	       e->arch == 0xc00000b7 ? e->call == 151 || e->call == 152 :
				       e->call == 138 || e->call == 139 || e->call == 215 || e->call == 216;
}

static __always_inline int changed(struct task_struct *tsk, const struct task_ids *ids, bool user)
{
	struct choice *c;
	struct entry *e;

	if (!recorded(tsk, user ? ids->now[TASK_ID_REAL] : task_uid(tsk), &c))
		return 0;
	if (ids->cause != TASK_CAUSE_SYSCALL && ids->cause != TASK_CAUSE_SETGROUPS)
		return 0; /* the record of the exec has the new ids */
	e = begin(tsk, KIND_IDS, find_call(tsk));
	if (!e)
		return 0;
	find_exe(e, tsk, c);
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

static __always_inline bool calls_exit(struct call c)
{
	return c.arch == 0xc000003e ? c.number == 60 || c.number == 231 :
	       c.arch == 0xc00000b7 ? c.number == 93 || c.number == 94 :
				      c.number == 1 || c.number == 248 || c.number == 252;
}

/* Signals that dump core: QUIT, ILL, TRAP, ABRT, BUS, FPE, SEGV, XCPU, XFSZ, SYS. */
#define CORE_SIGNALS (1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 11 | 1u << 24 | 1u << 25 | 1u << 31)

static __always_inline void record_exit(__u32 code, struct task_struct *tsk, const struct choice *c)
{
	struct call call = find_call(tsk);
	__u32 signal = code & 0x7f;
	struct entry *e;

	if (signal ? !task_is_leader(tsk) || signal > 31 || !(CORE_SIGNALS >> signal & 1) : !calls_exit(call))
		return;
	e = begin(tsk, signal ? KIND_ABEND : KIND_EXIT, call);
	if (!e)
		return;
	find_exe(e, tsk, c);
	e->status = code;
	find_args(e, tsk);
	end_short(e);
}

static int exited(unsigned long code, struct task_struct *tsk)
{
	struct choice *c = choices_get(tsk);

	if (!c)
		return 0;
	record_exit(code, tsk, c);
	choices_delete(tsk);
	return 0;
}
task_watcher_func(exit, exited);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("audit records of execs, ids and exits, by rule");
