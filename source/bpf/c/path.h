/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Paths of files, as the task that has them open sees them. */
#ifndef TASKWATCH_STREAM_PATH_H
#define TASKWATCH_STREAM_PATH_H

#include "kernel.h"
#include "scratch.h"

/* The path of the program that an address space runs, and those of a fs_struct. */
static __always_inline struct path *program_path(struct mm_struct *mm)
{
	return (void *)GET(mm, struct mm_struct, exe_file) + field_offset(struct file, f_path);
}

static __always_inline struct path *cwd_path(struct fs_struct *fs)
{
	return (void *)fs + field_offset(struct fs_struct, pwd);
}

/* A walk from a dentry up to the root of a task. */
struct walk {
	struct mount *mnt;
	struct dentry *dentry, *mnt_root;
	struct mount *root_mnt;
	struct dentry *root;
	struct scratch *s;
	u32 end; /* where no further name fits */
	u32 cut, done;
};

/* Stores one name. Returns 0 if there is no room, or nothing to read. */
static __always_inline int store_name(struct walk *w, const unsigned char *name)
{
	struct scratch *s = w->s;
	u32 off = s->off;
	long n;

	if (off >= w->end || off > sizeof(s->data) - NAME_MAX_NUL)
		return 0;
	n = bpf_probe_read_kernel_str(s->data + off, NAME_MAX_NUL, name);
	if (n <= 0)
		return 0;
	s->off = off + ((u32)n & (2 * NAME_MAX_NUL - 1));
	return 1;
}

/* Of a dentry what a step needs: in the kernel the two are neighbours. */
struct step {
	struct dentry *up;
	u64 hash_len;
	const unsigned char *name;
};

static __always_inline struct step step_from(struct dentry *d)
{
	struct step at = {};

	if (field_offset(struct dentry, d_name.name) == field_offset(struct dentry, d_parent) + offsetof(struct step, name)) {
		bpf_probe_read_kernel(&at, sizeof(at), (void *)d + field_offset(struct dentry, d_parent));
	} else { /* its members were put in a random order */
		READ(at.up, d, struct dentry, d_parent);
		READ(at.name, d, struct dentry, d_name.name);
	}
	return at;
}

static long walk_up(u64 i, struct walk *w)
{
	struct step at;

	if (w->dentry == w->root && w->mnt == w->root_mnt) {
		w->done = 1;
		return 1;
	}
	at = step_from(w->dentry);
	if (w->dentry == w->mnt_root) {
		struct mount *below;

		READ(below, w->mnt, struct mount, mnt_parent);
		if (below == w->mnt) { /* the root of the namespace, or of nothing */
			w->done = 1;
			return 1;
		}
		READ(w->dentry, w->mnt, struct mount, mnt_mountpoint);
		READ(w->mnt_root, below, struct mount, mnt.mnt_root);
		w->mnt = below;
		return 0;
	}
	if (!store_name(w, at.name)) {
		w->cut = 1;
		return 1;
	}
	if (at.up == w->dentry) { /* a file without a place: memfd, pipe */
		w->done = 1;
		return 1;
	}
	w->dentry = at.up;
	return 0;
}

/* What walk_path returns beside a number of bytes. */
#define PATH_GONE (1u << 30)
#define PATH_CUT (1u << 31)

/*
 * Stores the names of a struct path at data[off] of a scratch. Without a fs_struct
 * the way goes on to the root of the mount namespace.
 *
 * It is global and takes numbers only, so that the verifier follows it once, and
 * not at each call: it is most of what there is to verify.
 */
__noinline u32 walk_path(u32 slot, u32 off, u64 of, u64 fs)
{
	struct path *path = (void *)of;
	struct walk w = {.end = off + PATH_ROOM - NAME_MAX_NUL};
	struct dentry *up;
	void *mnt, *root_mnt;
	void **pprev;
	u32 flags = 0;

	w.s = bpf_map_lookup_elem(&scratch, &slot);
	if (!w.s)
		return PATH_CUT;
	w.s->off = off;
	READ(mnt, path, struct path, mnt);
	w.mnt = mnt - field_offset(struct mount, mnt);
	READ(w.dentry, path, struct path, dentry);
	if (fs) {
		struct path *root = (void *)fs + field_offset(struct fs_struct, root);

		READ(root_mnt, root, struct path, mnt);
		w.root_mnt = root_mnt - field_offset(struct mount, mnt);
		READ(w.root, root, struct path, dentry);
	}
	READ(w.mnt_root, mnt, struct vfsmount, mnt_root);
	READ(pprev, w.dentry, struct dentry, d_hash.pprev);
	READ(up, w.dentry, struct dentry, d_parent);
	if (!pprev && (up != w.dentry || w.mnt_root != w.dentry))
		flags |= PATH_GONE;
	bpf_loop(2 * PATH_ROOM, walk_up, &w, 0);
	if (w.cut || !w.done)
		flags |= PATH_CUT;
	return flags | clamp(w.s->off - off, PATH_ROOM);
}

/*
 * Stores the names of path at data[off] of a scratch, and returns how many bytes
 * they take. gone and cut are what to set in flags.
 */
static __always_inline u32 store_path(u32 slot, u32 off, struct path *path, struct fs_struct *fs,
				      u16 gone, u16 cut, u16 *flags)
{
	u32 ret = walk_path(slot, off, (u64)path, (u64)fs);

	if (ret & PATH_GONE)
		*flags |= gone;
	if (ret & PATH_CUT)
		*flags |= cut;
	return clamp(ret & ~(PATH_GONE | PATH_CUT), PATH_ROOM);
}

#endif
