/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Paths of files, as the task that has them open sees them. Needs Linux 5.17.
 *
 * They are read while others may rename: a path that was renamed meanwhile is
 * not known. It takes longer the deeper the file is.
 */
#ifndef TASK_WATCHERS_BPF_PATH_H
#define TASK_WATCHERS_BPF_PATH_H

#define TW_PARTS_MAX 4096 /* names and mounts: as many as a path of PATH_MAX may have */

/* tw_walk - from a file up to the root of a task */
struct tw_walk {
	struct mount *mnt, *root_mnt;
	struct dentry *dentry, *mnt_root, *root;
	__u32 length; /* of what was passed; then, of what is still to be passed */
	__u32 done;
};

/* tw_text - what is left of a text that is copied */
struct tw_text {
	const void *from;
	__u32 at; /* where it goes */
	__u32 left;
};

/*
 * buf and size are apart from what changes: tw_forget() would have the verifier
 * forget them, too.
 */
struct tw_path {
	char *buf;
	__u64 size;
	struct tw_walk w;
};

struct tw_copy {
	char *buf;
	__u64 size;
	struct tw_text t;
};

/*
 * tw_forget - keep from the verifier what it believes to know of a variable.
 * Kernels before 6.7 look at a loop's callback once, and take what comes after
 * more than one turn for impossible; later ones look at each turn until it is as
 * one before.
 */
#define tw_forget(p) bpf_probe_read_kernel(p, sizeof(*(p)), p)

/* Up to eight bytes at once, and single ones where the buffer ends. */
static inline __attribute__((noinline)) long tw_copy_some(__u32 i, struct tw_copy *c)
{
	__u64 size = c->size;
	__u32 at, n;

	tw_forget(&c->t);
	at = c->t.at;
	n = c->t.left;
	asm volatile("" : "+r"(at), "+r"(n));
	if (!n)
		return 1;
	if (n > 8)
		n = 8;
	if (size > 9 && at < size - 9) {
		bpf_probe_read_kernel(c->buf + at, n, c->t.from);
	} else if (at < size - 1) {
		n = 1;
		bpf_probe_read_kernel(c->buf + at, 1, c->t.from);
	} else {
		return 1;
	}
	c->t.from += n;
	c->t.at += n;
	c->t.left -= n;
	return 0;
}

/* tw_put - copy a text to where it belongs, as much as there is room for */
static __always_inline void tw_put(char *buf, __u64 size, __u32 at, const void *from, __u32 length)
{
	struct tw_copy c = {.buf = buf, .size = size, .t = {.from = from, .at = at, .left = length}};

	bpf_loop(length / 8 + 9, tw_copy_some, &c, 0);
}

/*
 * tw_climb - go up by one; returns the length of the name passed and its slash,
 * or 0 if it was a mount or the end
 */
static __always_inline __u32 tw_climb(struct tw_walk *w)
{
	struct dentry *up;
	__u32 length;

	if (w->dentry == w->root && w->mnt == w->root_mnt) {
		w->done = 1;
		return 0;
	}
	if (w->dentry == w->mnt_root) {
		struct mount *below = kernel_read(w->mnt->mnt_parent);

		if (below == w->mnt || !below) { /* the root of the namespace, or of nothing */
			w->done = 1;
			return 0;
		}
		w->dentry = kernel_read(w->mnt->mnt_mountpoint);
		w->mnt_root = kernel_read(below->mnt.mnt_root);
		w->mnt = below;
		return 0;
	}
	up = kernel_read(w->dentry->d_parent);
	length = kernel_read(w->dentry->d_name.len) & 255;
	if (up == w->dentry || !up) /* a file without a place: memfd */
		w->done = 1;
	w->dentry = up;
	return length + 1;
}

static inline __attribute__((noinline)) long tw_measure(__u32 i, struct tw_path *p)
{
	tw_forget(&p->w);
	p->w.length += tw_climb(&p->w);
	return p->w.done & 1;
}

static inline __attribute__((noinline)) long tw_write(__u32 i, struct tw_path *p)
{
	__u64 size = p->size;
	struct dentry *dentry;
	__u32 length, at;

	tw_forget(&p->w);
	dentry = p->w.dentry;
	length = tw_climb(&p->w);
	if (length > p->w.length) { /* renamed */
		p->w.done = 0;
		return 1;
	}
	p->w.length -= length;
	at = p->w.length;
	asm volatile("" : "+r"(at));
	if (length && at < size - 1) {
		p->buf[at] = '/';
		tw_put(p->buf, size, at + 1, kernel_read(dentry->d_name.name), length - 1);
	}
	return p->w.done & 1;
}

/* tw_store_path - the path at which path is, for a task with the root of fs */
static inline __attribute__((noinline)) int tw_store_path(char *buf, __u64 size, struct path *path, struct fs_struct *fs)
{
	static const char deleted[] = " (deleted)";
	struct tw_path p = {.buf = buf, .size = size};
	struct vfsmount *mnt = kernel_read(path->mnt), *root_mnt = kernel_read(fs->root.mnt);
	struct mount *start = (void *)mnt - kernel_offset(struct mount, mnt);
	struct dentry *dentry = kernel_read(path->dentry), *mnt_root = kernel_read(mnt->mnt_root);
	__u32 length, gone = 0;

	buf[0] = 0;
	if (!dentry || !fs)
		return -TW_ENOENT;
	if (!kernel_read(dentry->d_hash.pprev) && (kernel_read(dentry->d_parent) != dentry || mnt_root != dentry))
		gone = sizeof(deleted) - 1;
	p.w.mnt = start;
	p.w.dentry = dentry;
	p.w.mnt_root = mnt_root;
	p.w.root_mnt = (void *)root_mnt - kernel_offset(struct mount, mnt);
	p.w.root = kernel_read(fs->root.dentry);
	bpf_loop(TW_PARTS_MAX, tw_measure, &p, 0);
	tw_forget(&p.w);
	if (!p.w.done)
		return -TW_ENOENT;
	length = p.w.length;
	p.w.done = 0;
	p.w.mnt = start;
	p.w.dentry = dentry;
	p.w.mnt_root = mnt_root;
	bpf_loop(TW_PARTS_MAX, tw_write, &p, 0);
	tw_forget(&p.w);
	if (!p.w.done || p.w.length) {
		buf[0] = 0;
		return -TW_ENOENT;
	}
	if (!length) {
		buf[0] = '/';
		length = 1;
	}
	if (gone)
		tw_put(buf, size, length, deleted, gone);
	length += gone;
	asm volatile("" : "+r"(length));
	if (length < size)
		buf[length] = 0;
	else
		buf[size - 1] = 0;
	return length;
}

/* The verifier wants memory on the stack to have been written. */
#define tw_clear(buf, size)                                                                  \
	do {                                                                                 \
		if ((size) <= 512)                                                           \
			__builtin_memset(buf, 0, size);                                      \
	} while (0)

/*
 * task_exe, task_cwd - copy the path of its program, or of its working
 * directory, to buf[size]
 * @buf: on the stack or in a map
 * @size: a constant, at least 2
 *
 * The copy ends with a NUL. They return the full length, which is more than was
 * copied if it is not less than size, or a negative errno: -TW_ENOENT if it is
 * not known, as of a kernel thread, or of a task that exits and has given it up. The
 * path of what was deleted ends with " (deleted)".
 *
 * While an exec is decided, task_exe is the old program: see task_exec_path().
 */
static __always_inline int task_exe(struct task_struct *tsk, char *buf, __u32 size)
{
	struct mm_struct *mm = kernel_read(tsk->mm);
	struct file *exe = mm ? kernel_read(mm->exe_file) : 0;

	tw_clear(buf, size);
	if (!exe)
		return -TW_ENOENT;
	return tw_store_path(buf, size, (void *)exe + kernel_offset(struct file, f_path), kernel_read(tsk->fs));
}

/* task_parent_exe - the same of the program of its parent */
static __always_inline int task_parent_exe(struct task_struct *tsk, char *buf, __u32 size)
{
	return task_exe(kernel_read(tsk->real_parent), buf, size);
}

static __always_inline int task_cwd(struct task_struct *tsk, char *buf, __u32 size)
{
	struct fs_struct *fs = kernel_read(tsk->fs);

	tw_clear(buf, size);
	if (!fs)
		return -TW_ENOENT;
	return tw_store_path(buf, size, (void *)fs + kernel_offset(struct fs_struct, pwd), fs);
}

/* file_path - the same of an open file, as tsk sees it; kernel only */
static __always_inline int file_path(struct task_struct *tsk, struct file *file, char *buf, __u32 size)
{
	tw_clear(buf, size);
	return tw_store_path(buf, size, (void *)file + kernel_offset(struct file, f_path), kernel_read(tsk->fs));
}

#endif
