/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What an exec is about: the same answers where the kernel decides about it
 * (MODULE_VETO) and where it has happened. See the table in docs/modules.md.
 */
#ifndef TASK_WATCHERS_BPF_EXEC_H
#define TASK_WATCHERS_BPF_EXEC_H

/* The registers of the system call that a task is in, by processor. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs___x86 {
	unsigned long orig_ax, si, dx;
};

struct thread_info___x86 {
	__u32 status;
};

struct task_struct___x86 {
	struct thread_info___x86 thread_info;
};

struct pt_regs___arm64 {
	__u64 regs[31];
	__s32 syscallno;
};

struct thread_info___arm64 {
	unsigned long flags;
};

struct task_struct___arm64 {
	struct thread_info___arm64 thread_info;
};
#pragma clang attribute pop

#define TW_TS_COMPAT 2
#define TW_TIF_32BIT (1ul << 22)

/* task_exec_decided - whether the exec has happened; else it is about to be
 * decided, and may still fail */
static __always_inline bool task_exec_decided(struct linux_binprm *bprm) { return !kernel_read(bprm->mm); }

/*
 * task_exec_script - whether an interpreter is found to run it: that of a
 * script, or of binfmt_misc
 *
 * While the kernel decides, watchers are called about the program, when this is
 * not known yet and false, and again about each interpreter.
 */
static __always_inline bool task_exec_script(struct linux_binprm *bprm)
{
	return kernel_read(bprm->interp) != kernel_read(bprm->filename);
}

/*
 * task_syscall - the number of the system call that the running task is in, by
 * the table of its processor, or -1 for a 32-bit program
 *
 * It has a meaning at exec, uid and gid, and at init unless the kernel forks.
 */
static __always_inline long task_syscall(struct task_struct *tsk)
{
	void *regs = bpf_task_pt_regs(tsk);

	if (kernel_has(struct pt_regs___x86, orig_ax)) {
		if (kernel_read(((struct task_struct___x86 *)tsk)->thread_info.status) & TW_TS_COMPAT)
			return -1;
		return kernel_read(((struct pt_regs___x86 *)regs)->orig_ax);
	}
	if (kernel_has(struct pt_regs___arm64, syscallno)) {
		if (kernel_read(((struct task_struct___arm64 *)tsk)->thread_info.flags) & TW_TIF_32BIT)
			return -1;
		return kernel_read(((struct pt_regs___arm64 *)regs)->syscallno);
	}
	return -1;
}

#define TW_ARGV_UNKNOWN (~0ull)

/* tw_argv_asked - the argv that the running system call was given, which may be
 * 0, or TW_ARGV_UNKNOWN */
static __always_inline __u64 tw_argv_asked(struct task_struct *tsk)
{
	void *from = bpf_task_pt_regs(tsk);
	long nr = task_syscall(tsk);

	if (kernel_has(struct pt_regs___x86, orig_ax)) {
		struct pt_regs___x86 *regs = from;

		return nr == 59 ? kernel_read(regs->si) : nr == 322 ? kernel_read(regs->dx) : TW_ARGV_UNKNOWN;
	}
	if (kernel_has(struct pt_regs___arm64, syscallno)) {
		struct pt_regs___arm64 *regs = from;

		return nr == 221 ? kernel_read(regs->regs[1]) : nr == 281 ? kernel_read(regs->regs[2]) : TW_ARGV_UNKNOWN;
	}
	return TW_ARGV_UNKNOWN;
}

/* tw_user - a word of the running task's memory, or 0 */
static __always_inline __u64 tw_user(__u64 address)
{
	__u64 value = 0;

	bpf_probe_read_user(&value, sizeof(value), (void *)address);
	return value;
}

/* tw_argv - where the pointers to the arguments are, in user memory, and how
 * many of them the interpreters of a script have put before its own */
struct tw_argv {
	__u64 at;
	__u32 count; /* without those */
	__u32 added;
};

/* tw_same - whether a user's string is the kernel's, so far */
struct tw_same {
	const char *user, *kernel;
	__u32 differs, done;
};

static inline __attribute__((noinline)) long tw_compare(__u32 i, struct tw_same *s)
{
	__u64 user[4] = {}, kernel[4] = {};
	long n, m;

	tw_forget(s);
	n = bpf_probe_read_user_str(user, sizeof(user), s->user);
	m = bpf_probe_read_kernel_str(kernel, sizeof(kernel), s->kernel);
	s->differs = n != m || n <= 0 || user[0] != kernel[0] || user[1] != kernel[1] || user[2] != kernel[2] || user[3] != kernel[3];
	s->user += sizeof(user) - 1;
	s->kernel += sizeof(kernel) - 1;
	s->done = n < (long)sizeof(user);
	return (s->differs | s->done) & 1;
}

/* Scripts nest five deep; each interpreter may have one argument of its own. */
#define TW_ADDED_MAX 10

/* tw_added - how many arguments stand before the name of the script */
static inline __attribute__((noinline)) __u32 tw_added(__u64 argv, struct linux_binprm *bprm)
{
	for (__u32 i = 1; i <= TW_ADDED_MAX; i++) {
		struct tw_same s = {};

		s.user = (void *)tw_user(argv + 8 * i);
		s.kernel = kernel_read(bprm->filename);
		bpf_loop(4096 / 31, tw_compare, &s, 0);
		tw_forget(&s);
		if (s.done && !s.differs)
			return i;
	}
	return 0;
}

struct tw_count {
	__u64 argv;
	__u32 n;
};

static inline __attribute__((noinline)) long tw_count_one(__u32 i, struct tw_count *c)
{
	tw_forget(c);
	if (!tw_user(c->argv + 8 * (__u64)c->n))
		return 1;
	c->n++;
	return 0;
}

/* tw_find_argv - returns whether the arguments can be read */
static inline __attribute__((noinline)) int tw_find_argv(struct task_struct *tsk, struct linux_binprm *bprm, struct tw_argv *argv)
{
	__u32 count = kernel_read(bprm->argc);
	bool script = task_exec_script(bprm);
	struct tw_count c = {};
	__u64 stack;

	argv->count = count;
	argv->added = 0;
	if (!task_exec_decided(bprm)) {
		argv->at = tw_argv_asked(tsk);
		if (argv->at == TW_ARGV_UNKNOWN)
			return 0;
		if (script) { /* bprm has those of the interpreter */
			c.argv = argv->at;
			bpf_loop(count, tw_count_one, &c, 0);
			tw_forget(&c);
			argv->count = c.n ?: 1;
		}
		return 1;
	}
	/* A program finds them on its stack, behind their number. */
	stack = kernel_read(kernel_read(tsk->mm)->start_stack);
	if (!stack || tw_user(stack) != count)
		return 0;
	argv->at = stack + 8;
	if (script) {
		argv->added = tw_added(argv->at, bprm);
		argv->count = count - argv->added;
	}
	return 1;
}

/*
 * task_exec_argc - how many arguments the exec was given, or a negative errno
 *
 * Those that the interpreter of a script gets in addition do not count. To the
 * verifier it is no end of a loop, which needs a constant one as well.
 */
static __always_inline int task_exec_argc(struct task_struct *tsk, struct linux_binprm *bprm)
{
	struct tw_argv argv = {};

	return tw_find_argv(tsk, bprm, &argv) ? (int)argv.count : -TW_ENOENT;
}

/*
 * task_exec_arg - copy the argument with that index to buf[size]
 * @buf: on the stack or in a map
 * @size: a constant
 *
 * Returns the length, or a negative errno: -TW_ENOENT if there is no such
 * argument or it is not known (of a 32-bit program), -TW_EFAULT if it could not
 * be read. A result that is not less than size says that it was cut.
 *
 * While an exec is decided, this is the memory of the caller, which another
 * thread can change before the kernel copies it, and after: what must not be
 * run is not stopped by its arguments. Argument 0 of a script is, once it runs,
 * the script's name: compare from 1 on.
 */
static inline __attribute__((noinline)) int tw_exec_arg(struct task_struct *tsk, struct linux_binprm *bprm, __u32 i, char *buf, __u64 size)
{
	struct tw_argv argv = {};
	char last = 1;
	__u64 at = 0;
	int n;

	buf[0] = 0;
	if (!tw_find_argv(tsk, bprm, &argv) || i >= argv.count)
		return -TW_ENOENT;
	if (argv.at && bpf_probe_read_user(&at, sizeof(at), (void *)(argv.at + 8 * ((__u64)i + argv.added))))
		return -TW_EFAULT;
	if (!at && !i)
		return 0; /* to an exec without arguments, the kernel gives an empty one */
	n = bpf_probe_read_user_str(buf, size, (void *)at);
	if (n <= 0)
		return -TW_EFAULT;
	if (n < (int)size)
		return n - 1;
	bpf_probe_read_user(&last, sizeof(last), (void *)at + size - 1);
	return last ? (int)size : n - 1; /* it fits exactly */
}

static __always_inline int task_exec_arg(struct task_struct *tsk, struct linux_binprm *bprm, __u32 i, char *buf, __u32 size)
{
	tw_clear(buf, size);
	return tw_exec_arg(tsk, bprm, i, buf, size);
}

struct tw_length {
	const char *text;
	__u32 n, done;
};

static inline __attribute__((noinline)) long tw_measure_text(__u32 i, struct tw_length *l)
{
	char part[32];
	long n;

	tw_forget(l);
	n = bpf_probe_read_kernel_str(part, sizeof(part), l->text);
	if (n <= 0)
		return 1;
	l->n += n - 1;
	l->text += sizeof(part) - 1;
	l->done = n < (long)sizeof(part);
	return l->done & 1;
}

/* tw_exec_name - the name of a script, made absolute */
static inline __attribute__((noinline)) int tw_exec_name(struct task_struct *tsk, struct linux_binprm *bprm, char *buf, __u64 size)
{
	const char *name = kernel_read(bprm->filename);
	struct fs_struct *fs = kernel_read(tsk->fs);
	struct tw_length l = {};
	__u32 at = 0;
	char head[2];

	bpf_probe_read_kernel(head, sizeof(head), name);
	if (head[0] != '/') {
		int n = tw_store_path(buf, size, (void *)fs + kernel_offset(struct fs_struct, pwd), fs);

		if (n < 0)
			return n;
		at = n == 1 ? 0 : n; /* of the root, no second slash */
		if (head[0] == '.' && head[1] == '/')
			name += 2;
		asm volatile("" : "+r"(at));
		if (at < size - 1)
			buf[at] = '/';
		at++;
	}
	l.text = name;
	bpf_loop(4096 / 31 + 1, tw_measure_text, &l, 0);
	tw_forget(&l);
	if (!l.done) {
		buf[0] = 0;
		return -TW_ENOENT;
	}
	tw_put(buf, size, at, name, l.n);
	at += l.n;
	asm volatile("" : "+r"(at));
	if (at < size)
		buf[at] = 0;
	else
		buf[size - 1] = 0;
	return at;
}

/*
 * task_exec_path - copy the path of what is run to buf[size]: of the script,
 * not of its interpreter
 * @buf: on the stack or in a map
 * @size: a constant, at least 2
 *
 * Returns as task_exe() does. It is the path of the file that was opened. Of a
 * script whose interpreter is known, the kernel only has the name left that the
 * caller used: the path then leads through the symbolic links in it.
 */
static __always_inline int task_exec_path(struct task_struct *tsk, struct linux_binprm *bprm, char *buf, __u32 size)
{
	tw_clear(buf, size);
	if (task_exec_script(bprm))
		return tw_exec_name(tsk, bprm, buf, size);
	return file_path(tsk, kernel_read(bprm->file), buf, size);
}

/* task_exec_interpreter - the same of the interpreter, or -TW_ENOENT */
static __always_inline int task_exec_interpreter(struct task_struct *tsk, struct linux_binprm *bprm, char *buf, __u32 size)
{
	tw_clear(buf, size);
	if (!task_exec_script(bprm))
		return -TW_ENOENT;
	return file_path(tsk, kernel_read(bprm->file), buf, size);
}

#endif
