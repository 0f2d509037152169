/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * execguard: denies programs with EACCES, by path, by file, by the
 * directory above it, by mount, by fs-verity digest, because its path is
 * incomplete, or by an argument. Needs Linux 5.17.
 *
 * By path: the path is that of the file that was opened, whatever name or
 * symbolic link led to it, as seen from the root of its mount namespace. It
 * changes with mounts; the other rules do not.
 *
 * A path of more than 64 components and mounts, one that was renamed meanwhile,
 * and one that the kernel does not know, is taken for a match of the rules that
 * would have needed it.
 *
 * It asks about the file that execve is called with and, where the kernel can
 * deny, about each interpreter that a script or binfmt_misc names; not about
 * libraries, nor about the interpreter that the file of a program names.
 *
 * By argument: of the program that execve is called with, not those that an
 * interpreter gets in addition. Another thread of the caller can change it before
 * and after it was looked at.
 *
 * Names are compared where they are, without a copy of the path: a watcher may
 * be preempted, so that memory by CPU is not its own.
 */
#include "task_watchers.h"

#define PREFIX_MAX 128
#define NAME_MAX 255
#define DEPTH_MAX 64
#define DIGEST_MAX 64 /* bytes: SHA-512 */
#define ARG_MAX 128
#define ARGS_MAX 65536 /* so many are looked at */

module_param_string(prefix, 128, ""); /* PREFIX_MAX */
MODULE_PARM_DESC(prefix, "deny programs whose path begins with this; end it with / to mean a directory");
module_param(major, __u32, 0);
MODULE_PARM_DESC(major, "major number of the device of ino");
module_param(minor, __u32, 0);
MODULE_PARM_DESC(minor, "minor number of the device of ino");
module_param(ino, __u64, 0);
MODULE_PARM_DESC(ino, "deny the file with this inode number, or all files below the directory with it");
module_param(mount, __u32, 0);
MODULE_PARM_DESC(mount, "deny programs on the mount with this number in /proc/PID/mountinfo");
module_param(deny_incomplete, bool, false);
MODULE_PARM_DESC(deny_incomplete, "deny programs that are on no mount of their process's namespace, such as memfds, or have no known path");
module_param(deny_userns, bool, false);
MODULE_PARM_DESC(deny_userns, "deny programs on mounts of a user namespace, whose owner chooses them, and on mounts that were unmounted");
module_param_string(verity, 129, ""); /* 2 * DIGEST_MAX, and its end */
MODULE_PARM_DESC(verity, "deny programs with this fs-verity digest, in hexadecimal");
module_param(deny_no_verity, bool, false);
MODULE_PARM_DESC(deny_no_verity, "deny programs without an fs-verity digest");
module_param_string(arg, 128, ""); /* ARG_MAX */
MODULE_PARM_DESC(arg, "deny only execs with this argument, of those that the other rules match; without these, of all");
module_param(deny_unknown_args, bool, false);
MODULE_PARM_DESC(deny_unknown_args, "take arguments that cannot be read for those of the rule");

__u64 asked, refused, incomplete, unknown_args;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct nsproxy___ns {
	struct mnt_namespace *mnt_ns;
};
struct task_struct___ns {
	struct nsproxy___ns *nsproxy;
};
struct dentry___flags {
	unsigned int d_flags;
};
struct merkle_tree_params___verity {
	unsigned int digest_size;
};
struct fsverity_info___verity {
	struct merkle_tree_params___verity tree_params;
	__u8 file_digest[DIGEST_MAX];
};
struct inode___verity {
	struct fsverity_info___verity *i_verity_info;
};
struct fsverity_operations___verity {
	long inode_info_offs;
};
struct super_block___verity {
	struct fsverity_operations___verity *s_vop;
};
#pragma clang attribute pop

/* walk - from a file towards the root of all mounts */
struct walk {
	struct vfsmount *mnt;
	struct dentry *dentry;
	__u32 length; /* of what was passed; then, of what is still to be passed */
	__u32 want;   /* the length of the prefix */
	__u32 done, found, differs; /* 0 or 1; no bools, whose range is lost on the verifier */
};

/*
 * forget - keep from the verifier what it believes to know of a walk. Kernels
 * before 6.7 look at a loop's callback once, and take what comes after more than
 * one turn for impossible; later ones look at each turn until it is as one before.
 */
static __always_inline void forget(struct walk *w)
{
	bpf_probe_read_kernel(w, sizeof(*w), w);
}

static __always_inline void start(struct walk *w, struct file *file)
{
	w->mnt = kernel_read(file->f_path.mnt);
	w->dentry = kernel_read(file->f_path.dentry);
	w->done = 0;
}

#define DISCONNECTED (1u << 5) /* DCACHE_DISCONNECTED */

/*
 * pathless - whether the kernel has found the file by its inode, and not by a
 * path: it was opened by a handle
 */
static __always_inline bool pathless(struct file *file)
{
	struct dentry *dentry = kernel_read(file->f_path.dentry);

	return kernel_read(dentry->d_parent) == dentry && kernel_read(((struct dentry___flags *)dentry)->d_flags) & DISCONNECTED;
}

static __always_inline bool is_rule(struct dentry *dentry)
{
	struct inode *inode = kernel_read(dentry->d_inode);

	return kernel_read(inode->i_ino) == ino &&
	       kernel_read(kernel_read(inode->i_sb)->s_dev) == (major << 20 | minor);
}

/* prefix_at - a byte of the prefix; the bound is hidden from the compiler, or
 * the verifier would not find it where it needs it */
static __always_inline char prefix_at(__u32 i)
{
	asm volatile("" : "+r"(i));
	return prefix[i & (PREFIX_MAX - 1)];
}

/* climb - go up by one; returns the length of the name passed and its slash, or
 * 0 if it was a mount or the end */
static __always_inline __u32 climb(struct walk *w)
{
	struct dentry *root = kernel_read(w->mnt->mnt_root);
	struct dentry *parent = kernel_read(w->dentry->d_parent);
	__u32 len;

	if (w->dentry == root || w->dentry == parent) {
		struct mount *m = (void *)w->mnt - kernel_offset(struct mount, mnt);
		struct mount *up = kernel_read(m->mnt_parent);

		if (w->dentry != root || up == m || !up) {
			w->done = 1;
			return 0;
		}
		w->dentry = kernel_read(m->mnt_mountpoint);
		w->mnt = (void *)up + kernel_offset(struct mount, mnt);
		return 0;
	}
	len = kernel_read(w->dentry->d_name.len) & NAME_MAX;
	w->dentry = parent;
	return len + 1;
}

/* measure - a step of the walk that adds up the length of the path and looks
 * for the rule's inode on the way */
static long measure(__u32 i, struct walk *w)
{
	forget(w);
	if (ino && is_rule(w->dentry))
		w->found = 1;
	w->length += climb(w);
	return w->done & 1;
}

/* ascend - the same within the file system, whatever part of it is mounted */
static long ascend(__u32 i, struct walk *w)
{
	struct dentry *parent;

	forget(w);
	parent = kernel_read(w->dentry->d_parent);
	if (is_rule(w->dentry))
		w->found = 1;
	w->done = parent == w->dentry || !parent;
	w->dentry = parent;
	return (w->done | w->found) & 1;
}

/* part - one name and where it stands in the path */
struct part {
	char name[PREFIX_MAX];
	__u32 at;   /* of its first letter */
	__u32 want; /* the length of the prefix */
	__u32 differs;
};

static long compare_letter(__u32 i, struct part *p)
{
	__u32 at = p->at + i;

	if (at >= p->want)
		return 1;
	if (prefix_at(at) != p->name[i & (PREFIX_MAX - 1)])
		p->differs = 1;
	return 0;
}

/* compare - a step of the walk that compares a name with its place in the prefix */
static long compare(__u32 i, struct walk *w)
{
	struct part p = {};
	struct dentry *dentry;
	__u32 len, n;

	forget(w);
	dentry = w->dentry;
	len = climb(w);
	if (len > w->length) { /* renamed */
		w->differs = 1;
		w->done = 0;
		return 1;
	}
	w->length -= len;
	if (!len || w->length >= w->want)
		return w->done & 1;
	if (prefix_at(w->length) != '/')
		w->differs = 1;
	n = len - 1;
	if (n > PREFIX_MAX - 1)
		n = PREFIX_MAX - 1; /* the prefix is no longer */
	asm volatile("" : "+r"(n));
	n &= PREFIX_MAX - 1;
	p.at = w->length + 1;
	p.want = w->want;
	bpf_probe_read_kernel(p.name, n, kernel_read(dentry->d_name.name));
	bpf_loop(n, compare_letter, &p, 0);
	w->differs |= p.differs;
	return w->done & 1;
}

/* matches - whether the path begins with the prefix, or the file is the rule's */
static __noinline int matches(struct file *file)
{
	struct walk w = {};

	for (__u32 i = 0; i < PREFIX_MAX; i++) {
		if (!prefix[i])
			break;
		w.want = i + 1;
	}
	start(&w, file);
	bpf_loop(DEPTH_MAX, measure, &w, 0);
	forget(&w);
	if (!w.done || w.found || pathless(file))
		return 1;
	if (w.want && w.want <= w.length) {
		start(&w, file);
		bpf_loop(DEPTH_MAX, compare, &w, 0);
		forget(&w);
		if (!w.done || w.length || !w.differs)
			return 1;
	}
	if (!ino)
		return 0;
	start(&w, file);
	bpf_loop(DEPTH_MAX, ascend, &w, 0);
	forget(&w);
	return !w.done || w.found;
}

/*
 * sealed - what fs-verity keeps of an open file, in *known; NULL for one without a
 * digest. Returns false where the kernel has another place for it. (The function
 * bpf_get_fsverity_digest() is for LSM programs alone, and newer than Linux 6.7.)
 */
static __always_inline bool sealed(struct inode *inode, struct fsverity_info___verity **known)
{
	struct fsverity_operations___verity *ops;

	if (kernel_has(struct inode___verity, i_verity_info)) {
		*known = kernel_read(((struct inode___verity *)inode)->i_verity_info);
		return true;
	}
	if (!kernel_has(struct fsverity_operations___verity, inode_info_offs)) /* Linux 6.18 */
		return false;
	ops = kernel_read(((struct super_block___verity *)kernel_read(inode->i_sb))->s_vop);
	*known = 0;
	if (ops) /* the file system has fs-verity */
		bpf_probe_read_kernel(known, sizeof(*known), (void *)inode + kernel_read(ops->inode_info_offs));
	return true;
}

/* digit - the value of a hexadecimal digit, or what no half of a byte is */
static __always_inline __u32 digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 0x1000;
}

/* matches_digest - whether the file has the digest of the rule, or lacks one */
static __noinline int matches_digest(struct file *file)
{
	struct fsverity_info___verity *known;
	__u8 digest[DIGEST_MAX];
	__u32 size;

	if (!sealed(kernel_read(file->f_inode), &known))
		return 1;
	if (!known)
		return deny_no_verity;
	if (!verity[0])
		return 0;
	size = kernel_read(known->tree_params.digest_size);
	bpf_probe_read_kernel(digest, sizeof(digest), known->file_digest);
	for (__u32 i = 0; i < DIGEST_MAX; i++) {
		if (i >= size)
			return !verity[2 * i];
		if (digest[i] != (digit(verity[2 * i]) << 4 | digit(verity[2 * i + 1])))
			return 0;
	}
	return 1;
}

/* args - the arguments of an exec while they are compared */
struct args {
	__u64 at; /* of the pointer to the first one, in user memory */
	__u32 found, unknown; /* 0 or 1 */
};

static long compare_arg(__u32 i, struct args *a)
{
	char text[ARG_MAX + 8] = {}; /* more than the rule has: a longer argument differs */

	tw_forget(a);
	if (bpf_probe_read_user_str(text, sizeof(text), (void *)tw_user(a->at + 8 * (__u64)i)) < 0)
		a->unknown = 1;
	else if (task_string_is(text, sizeof(text), arg))
		a->found = 1;
	return a->found & 1;
}

/*
 * has_arg - whether the exec has the argument of the rule. Not by task_exec_arg(),
 * which looks for the arguments anew each time: of a script, by counting them.
 */
static __noinline int has_arg(struct task_struct *tsk, struct linux_binprm *bprm)
{
	struct tw_argv argv = {};
	struct args a = {};

	if (tw_find_argv(tsk, bprm, &argv)) {
		__u32 n = argv.count ? argv.count - 1 : 0; /* the first one is a name */

		a.at = argv.at + 8 * ((__u64)argv.added + 1);
		a.unknown = n > ARGS_MAX;
		bpf_loop(n > ARGS_MAX ? ARGS_MAX : n, compare_arg, &a, 0);
		tw_forget(&a);
	} else {
		a.unknown = 1;
	}
	if (a.found)
		return 1;
	if (!a.unknown)
		return 0;
	__sync_fetch_and_add(&unknown_args, 1);
	return deny_unknown_args;
}

/* level - how deep the user namespace is that a mount namespace belongs to */
static __always_inline int level(struct mnt_namespace *ns) { return kernel_read(kernel_read(ns->user_ns)->level); }

/* judge - the rules about one file of an exec */
static __always_inline int judge(struct task_struct *tsk, struct linux_binprm *bprm)
{
	struct vfsmount *mnt;
	struct mount *m;
	struct mnt_namespace *ns, *own;
	bool files = prefix[0] || ino || mount || deny_incomplete || deny_userns || verity[0] || deny_no_verity;
	bool partly;

	if (!files && !arg[0])
		return 0;
	__sync_fetch_and_add(&asked, 1);
	mnt = kernel_read(bprm->file->f_path.mnt);
	m = (void *)mnt - kernel_offset(struct mount, mnt);
	ns = kernel_read(m->mnt_ns);
	own = kernel_read(kernel_read(((struct task_struct___ns *)tsk)->nsproxy)->mnt_ns);
	partly = ns != own || pathless(bprm->file);
	if (partly)
		__sync_fetch_and_add(&incomplete, 1);
	if (files &&
	    !(partly && deny_incomplete) &&
	    !(mount && kernel_read(m->mnt_id) == (int)mount) &&
	    /* What was unmounted has no namespace, and may have been anybody's. */
	    !(deny_userns && (!ns || level(own) > 0 || level(ns) > 0)) &&
	    !((prefix[0] || ino) && matches(bprm->file)) &&
	    !((verity[0] || deny_no_verity) && matches_digest(bprm->file)))
		return 0;
	if (arg[0] && !has_arg(tsk, bprm))
		return 0;
	__sync_fetch_and_add(&refused, 1);
	return -TW_EACCES;
}

/* Interpreters have steps of their own while the kernel decides. */
static int guard(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	if (!task_exec_decided(bprm) && task_exec_script(bprm))
		return 0;
	return judge(tsk, bprm);
}
task_exec_watcher_func(guard);

/* An interpreter may be a script: the last one alone would show a rule too little. */
static int guard_interpreter(unsigned long step, struct task_struct *tsk, struct linux_binprm *bprm)
{
	return step ? judge(tsk, bprm) : 0;
}
task_step_watcher_func(guard_interpreter);

MODULE_VETO(exec);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("denies programs by path, file, directory, mount, fs-verity digest or argument");
