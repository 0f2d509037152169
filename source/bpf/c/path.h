/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Paths of files, as the task that has them open sees them. */
#ifndef TASKWATCH_STREAM_PATH_H
#define TASKWATCH_STREAM_PATH_H

#include "kernel.h"
#include "scratch.h"

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

/* Where a dentry has a short name. */
static __always_inline const u64 *short_name(struct dentry *dentry)
{
	if (field_exists(struct dentry, d_shortname))
		return (void *)dentry + field_offset(struct dentry, d_shortname);
	return (void *)dentry + field_offset(struct dentry___before_6_14, d_iname);
}

/*
 * Stores the name of a dentry that the verifier knows, if it is a short one and
 * is not changing, and returns how many bytes it takes, or 0. A helper that
 * reads a string takes several times as long.
 */
static __always_inline u32 store_short_name(u8 *to, struct dentry *dentry)
{
	const u64 *from = short_name(dentry);
	u32 len = dentry->d_name.len, bad;

	if ((const void *)dentry->d_name.name != (const void *)from)
		return 0;
	for (int i = 0; i < 4; i++)
		((u64 *)to)[i] = from[i];
	asm volatile("" ::: "memory"); /* the length is read again */
	bad = to[len & 31] | (len ^ dentry->d_name.len) | len >> 5;
	return bad ? 0 : len + 1; /* or it is long, or being renamed */
}

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

static long walk_up(u64 i, struct walk *w)
{
	struct dentry *up;
	const unsigned char *name;

	if (w->dentry == w->root && w->mnt == w->root_mnt) {
		w->done = 1;
		return 1;
	}
	READ(up, w->dentry, struct dentry, d_parent);
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
	READ(name, w->dentry, struct dentry, d_name.name);
	if (!store_name(w, name)) {
		w->cut = 1;
		return 1;
	}
	if (up == w->dentry) { /* a file without a place: memfd, pipe */
		w->done = 1;
		return 1;
	}
	w->dentry = up;
	return 0;
}

/*
 * Walks like walk_up() for the first few names, as long as they are short and
 * within one mount, where the verifier knows the types: plain loads, which cost
 * a twentieth of READ.
 */
static __always_inline void walk_typed(struct walk *w, struct dentry *dentry)
{
	struct scratch *s = w->s;

	for (int i = 0; i < 6; i++) {
		struct dentry *up = dentry->d_parent;
		u32 off = s->off, n;

		if (dentry == w->root && w->mnt == w->root_mnt) {
			w->done = 1;
			break;
		}
		if (dentry == w->mnt_root || off >= w->end || off > sizeof(s->data) - NAME_MAX_NUL)
			break;
		n = store_short_name(s->data + off, dentry);
		if (n == 0)
			break;
		s->off = off + n;
		if (up == dentry) {
			w->done = 1;
			break;
		}
		dentry = up;
	}
	w->dentry = dentry;
}

static __always_inline u32 walk(struct scratch *s, u32 off, struct path *path, struct fs_struct *fs,
				int typed, u16 gone, u16 cut, u16 *flags)
{
	struct walk w = {.s = s, .end = off + PATH_ROOM - NAME_MAX_NUL};
	struct dentry *up;
	void *mnt, *root_mnt;
	void **pprev;

	s->off = off;
	if (typed) {
		struct dentry *dentry = path->dentry;

		s->mnt = path->mnt;
		s->root_mnt = fs->root.mnt;
		asm volatile("" ::: "memory");
		mnt = s->mnt;
		root_mnt = s->root_mnt;
		w.root = fs->root.dentry;
		w.mnt_root = path->mnt->mnt_root;
		if (!dentry->d_hash.pprev && (dentry->d_parent != dentry || w.mnt_root != dentry))
			*flags |= gone;
		w.mnt = mnt - field_offset(struct mount, mnt);
		w.root_mnt = root_mnt - field_offset(struct mount, mnt);
		walk_typed(&w, dentry);
	} else {
		READ(mnt, path, struct path, mnt);
		w.mnt = mnt - field_offset(struct mount, mnt);
		READ(w.dentry, path, struct path, dentry);
		if (fs) {
			READ(root_mnt, &fs->root, struct path, mnt);
			w.root_mnt = root_mnt - field_offset(struct mount, mnt);
			READ(w.root, &fs->root, struct path, dentry);
		}
		READ(w.mnt_root, mnt, struct vfsmount, mnt_root);
		READ(pprev, w.dentry, struct dentry, d_hash.pprev);
		READ(up, w.dentry, struct dentry, d_parent);
		if (!pprev && (up != w.dentry || w.mnt_root != w.dentry))
			*flags |= gone;
	}
	if (!w.cut && !w.done)
		bpf_loop(2 * PATH_ROOM, walk_up, &w, 0);
	if (w.cut || !w.done)
		*flags |= cut;
	return s->off - off;
}

/*
 * Stores the names of path at s->data[off] and returns how many bytes they
 * take. gone and cut are what to set in flags. The other one is for a path
 * that the verifier does not know to be one, or where the time that it takes to
 * verify matters more than that to run; without fs its way goes on to the root of
 * the mount namespace.
 */
static __always_inline u32 store_path(struct scratch *s, u32 off, struct path *path, struct fs_struct *fs,
				      u16 gone, u16 cut, u16 *flags)
{
	return walk(s, off, path, fs, 1, gone, cut, flags);
}

static __always_inline u32 store_untyped_path(struct scratch *s, u32 off, struct path *path, struct fs_struct *fs,
					      u16 gone, u16 cut, u16 *flags)
{
	return walk(s, off, path, fs, 0, gone, cut, flags);
}

#endif
