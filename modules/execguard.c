/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * execguard: refuses with EACCES to run programs whose absolute path begins
 * with `prefix`. The path is that of the file that was opened, whatever name
 * or symbolic link led to it, as seen from the root of its mount namespace.
 * A path too long to be written down (64 components and mounts, or 4 KiB) is
 * taken for a match. Needs Linux 5.17.
 *
 * It is about the program that execve is called with: the interpreter of a
 * script and libraries are not asked about.
 */
#include "task_watchers.h"

#define PREFIX_MAX 128
#define PATH_SIZE 4096 /* a power of two */
#define NAME_MAX 255
#define DEPTH_MAX 64

module_param_string(prefix, 128, ""); /* PREFIX_MAX */
MODULE_PARM_DESC(prefix, "refuse programs whose path begins so; end it with / to mean a directory");

__u64 asked, refused;

struct buffer {
	char path[PATH_SIZE + NAME_MAX + 1]; /* filled from PATH_SIZE - 1 down */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct buffer);
} buffers SEC(".maps");

/* walk - where the path is being written, from the file towards the root */
struct walk {
	struct buffer *b;
	struct vfsmount *mnt;
	struct dentry *dentry;
	__u32 at;
	bool done;
};

/* step - write one component, or go up to where the mount is mounted; returns
 * 1 to end the loop */
static long step(__u32 i, struct walk *w)
{
	struct dentry *root = kernel_read(w->mnt->mnt_root);
	struct dentry *parent = kernel_read(w->dentry->d_parent);
	const unsigned char *name;
	__u32 len, at;

	if (w->dentry == root || w->dentry == parent) {
		struct mount *m = (void *)w->mnt - kernel_offset(struct mount, mnt);
		struct mount *up = kernel_read(m->mnt_parent);

		if (w->dentry != root || up == m || !up) {
			w->done = true;
			return 1;
		}
		w->dentry = kernel_read(m->mnt_mountpoint);
		w->mnt = (void *)up + kernel_offset(struct mount, mnt);
		return 0;
	}
	len = kernel_read(w->dentry->d_name.len) & NAME_MAX;
	name = kernel_read(w->dentry->d_name.name);
	if (w->at < len + 1)
		return 1;
	at = (w->at - len) & (PATH_SIZE - 1);
	bpf_probe_read_kernel(&w->b->path[at], len, name);
	at = (at - 1) & (PATH_SIZE - 1);
	w->b->path[at] = '/';
	w->at = at;
	w->dentry = parent;
	return 0;
}

/* write_path - write the path of a file backwards; returns where it begins,
 * or 0 if it is too long */
static __noinline __u32 write_path(struct buffer *b, struct file *file)
{
	struct walk w = {
		.b = b,
		.mnt = kernel_read(file->f_path.mnt),
		.dentry = kernel_read(file->f_path.dentry),
		.at = PATH_SIZE - 1,
	};

	bpf_loop(DEPTH_MAX, step, &w, 0);
	return w.done ? w.at : 0;
}

static int guard(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
{
	__u32 zero = 0, at;
	struct buffer *b;

	if (!prefix[0])
		return 0;
	b = bpf_map_lookup_elem(&buffers, &zero);
	if (!b)
		return 0;
	__sync_fetch_and_add(&asked, 1);
	b->path[PATH_SIZE - 1] = 0;
	at = write_path(b, bprm->file);
	for (__u32 i = 0; at && i < PREFIX_MAX; i++) {
		char c = prefix[i];

		if (!c)
			break;
		if (b->path[(at + i) & (PATH_SIZE - 1)] != c)
			return 0;
	}
	__sync_fetch_and_add(&refused, 1);
	return -TW_EACCES;
}
task_exec_watcher_func(guard);

MODULE_VETO(exec);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("refuses programs below a path");
