/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Paths of files, as the task that has them open sees them. */
#ifndef TASKWATCH_STREAM_PATH_H
#define TASKWATCH_STREAM_PATH_H

#include "read.h"
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

static __always_inline struct mount *mount_of(void *mnt)
{
	return mnt - field_offset(struct mount, mnt);
}

static __always_inline void begin(struct walk *w, struct path *path, struct fs_struct *fs)
{
	void *mnt = GET(path, struct path, mnt);

	w->mnt = mount_of(mnt);
	READ(w->dentry, path, struct path, dentry);
	if (fs) {
		struct path *root = (void *)fs + field_offset(struct fs_struct, root);

		w->root_mnt = mount_of(GET(root, struct path, mnt));
		READ(w->root, root, struct path, dentry);
	}
	READ(w->mnt_root, mnt, struct vfsmount, mnt_root);
	w->gone = !GET(w->dentry, struct dentry, d_hash.pprev) &&
		  (GET(w->dentry, struct dentry, d_parent) != w->dentry || w->mnt_root != w->dentry);
}

/* What is at a step of a walk. */
enum {
	STEP_NAME, /* of the dentry */
	STEP_MOUNT, /* which has been left for where it is mounted */
	STEP_END,
};

static __always_inline int look(struct walk *w)
{
	struct mount *below;

	if (w->dentry == w->root && w->mnt == w->root_mnt) {
		w->done = 1;
		return STEP_END;
	}
	if (w->dentry != w->mnt_root)
		return STEP_NAME;
	READ(below, w->mnt, struct mount, mnt_parent);
	if (below == w->mnt) { /* the root of the namespace, or of nothing */
		w->done = 1;
		return STEP_END;
	}
	READ(w->dentry, w->mnt, struct mount, mnt_mountpoint);
	READ(w->mnt_root, below, struct mount, mnt.mnt_root);
	w->mnt = below;
	return STEP_MOUNT;
}

/* Goes up from a name. Returns 0 if there is nothing above. */
static __always_inline int up(struct walk *w)
{
	struct dentry *parent = GET(w->dentry, struct dentry, d_parent);

	if (parent == w->dentry) { /* a file without a place: memfd, pipe */
		w->done = 1;
		return 0;
	}
	w->dentry = parent;
	return 1;
}

/* Stores one name. Returns 0 if there is no room, or nothing to read. */
static __always_inline int store_name(struct scratch *s, const unsigned char *name)
{
	u32 off = s->off;
	long n;

	if (off >= s->end || off > sizeof(s->data) - NAME_MAX_NUL)
		return 0;
	n = bpf_probe_read_kernel_str(s->data + off, NAME_MAX_NUL, name);
	if (n <= 0)
		return 0;
	s->off = off + ((u32)n & (2 * NAME_MAX_NUL - 1));
	return 1;
}

/* A walk whose names go to a scratch, where its state is. */
struct store {
	struct scratch *s;
};

static long store_step(u64 i, struct store *to)
{
	struct scratch *s = to->s;
	int at = look(&s->walk);

	if (at != STEP_NAME)
		return at == STEP_END;
	if (!store_name(s, GET(s->walk.dentry, struct dentry, d_name.name)))
		return 1;
	return !up(&s->walk);
}

/* What walk_path returns beside a number of bytes. */
#define PATH_GONE (1u << 30)
#define PATH_CUT (1u << 31)

/*
 * Stores the names of a struct path at data[off] of a scratch.
 *
 * It is global and takes numbers only, so that the verifier follows it once, and
 * not at each call: it is most of what there is to verify.
 */
__noinline u32 walk_path(u32 slot, u32 off, u64 of, u64 fs)
{
	struct store to = {.s = bpf_map_lookup_elem(&scratch, &slot)};
	u32 flags = 0;

	if (!to.s)
		return PATH_CUT;
	to.s->off = off;
	to.s->from = off;
	to.s->end = off + PATH_ROOM - NAME_MAX_NUL;
	__builtin_memset(&to.s->walk, 0, sizeof(to.s->walk));
	begin(&to.s->walk, (void *)of, (void *)fs);
	bpf_loop(2 * PATH_ROOM, store_step, &to, 0);
	if (to.s->walk.gone)
		flags |= PATH_GONE;
	if (!to.s->walk.done)
		flags |= PATH_CUT;
	return flags | clamp(to.s->off - to.s->from, PATH_ROOM);
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

/* A walk that makes a number of where a path leads. */
struct number {
	struct walk w;
	u64 n;
};

static __always_inline void mix(struct number *to, u64 n)
{
	u64 mixed = (to->n ^ n) * 0x9e3779b97f4a7c15ull; /* odd, without a pattern */

	to->n = mixed ^ mixed >> 32;
}

static long number_step(u64 i, struct number *to)
{
	int at = look(&to->w);

	if (at == STEP_END)
		return 1;
	mix(to, (u64)to->w.dentry);
	if (at == STEP_MOUNT)
		return 0;
	/* The hash has the parent in it; the sequence tells of a name of the same hash. */
	mix(to, GET(to->w.dentry, struct dentry, d_name.hash_len));
	mix(to, GET(to->w.dentry, struct dentry, d_seq.seqcount.sequence));
	return !up(&to->w);
}

/*
 * Returns a number that is the same as long as the path of a struct path is, or 0
 * if it has no end. It takes no name, and so a part of the time of walk_path. It
 * is global, as that one is.
 */
__noinline u64 number_path(u64 of, u64 fs)
{
	struct number to = {.n = 1}; /* of a root: 0 is none */

	begin(&to.w, (void *)of, (void *)fs);
	mix(&to, to.w.gone);
	bpf_loop(2 * PATH_ROOM, number_step, &to, 0);
	return to.w.done ? to.n : 0;
}

#endif
