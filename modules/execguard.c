/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * execguard: refuses with EACCES to run programs whose absolute path begins
 * with `prefix`. The path is that of the file that was opened, whatever name
 * or symbolic link led to it, as seen from the root of its mount namespace.
 * A path of more than 40 components is taken for a match, if the guard is on.
 *
 * It is about the program that execve is called with: the interpreter of a
 * script and libraries are not asked about.
 */
#include "task_watchers.h"

#define PREFIX_MAX 128
#define PATH_SIZE 4096 /* a power of two */
#define NAME_MAX 255
#define DEPTH_MAX 40

module_param_string(prefix, PREFIX_MAX, "");
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

/* write_path - write the path of a file backwards; returns where it begins,
 * or 0 if it is too long */
static __noinline __u32 write_path(struct buffer *b, struct file *file)
{
	struct vfsmount *mnt = kernel_read(file->f_path.mnt);
	struct dentry *dentry = kernel_read(file->f_path.dentry);
	__u32 at = PATH_SIZE - 1;

	for (int i = 0; i < DEPTH_MAX; i++) {
		struct dentry *root = kernel_read(mnt->mnt_root);
		struct dentry *parent = kernel_read(dentry->d_parent);

		if (dentry == root || dentry == parent) {
			struct mount *m = (void *)mnt - kernel_offset(struct mount, mnt);
			struct mount *up = kernel_read(m->mnt_parent);

			if (dentry != root || up == m || !up)
				return at;
			dentry = kernel_read(m->mnt_mountpoint);
			mnt = (void *)up + kernel_offset(struct mount, mnt);
			continue;
		}

		__u32 len = kernel_read(dentry->d_name.len) & NAME_MAX;
		const unsigned char *name = kernel_read(dentry->d_name.name);

		if (at < len + 1)
			return 0;
		at -= len;
		bpf_probe_read_kernel(&b->path[at & (PATH_SIZE - 1)], len, name);
		at--;
		b->path[at & (PATH_SIZE - 1)] = '/';
		dentry = parent;
	}
	return 0;
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
