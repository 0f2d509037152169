/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The stream: one record in one ring buffer for every event of a task. Records
 * are reserved where the event happens, so the buffer's order is causal: what
 * a child does is behind its clone.
 *
 * It is a built-in of the table of module/kernel, which attaches and calls the
 * functions defined with watcher().
 */
#include "kernel.h"
#include "record.h"

char _license[] SEC("license") = "Dual BSD/GPL";
static const char api[] SEC(".modinfo") = "task_watchers=1"; /* see include/task_watchers.h */

/* Set before the load. */
enum { SCOPE_MACHINE, SCOPE_CGROUP, SCOPE_TREE };
const volatile u32 scope = SCOPE_MACHINE;
const volatile s32 own_pid;          /* the process that watches SCOPE_TREE */
const volatile u64 scope_cgroup;     /* the id of the cgroup of SCOPE_CGROUP */
const volatile s32 scope_pid;        /* the process, already running, of SCOPE_TREE; or 0 */
const volatile u32 init_early;       /* at init a task has no place in a cgroup yet */
const volatile u32 clone_is_init;    /* the two are one moment, and one record */
const volatile u32 wake_bytes = 1;   /* wakes a reader that armed ARMED_FULL */
const volatile u64 uid_syscalls[8];  /* bit sets of system call numbers */
const volatile u64 gid_syscalls[8];
const volatile u64 uid_syscalls32[8]; /* the same in the 32-bit table */
const volatile u64 gid_syscalls32[8];
const volatile u64 execve_syscall, execveat_syscall; /* numbers */

enum { ARMED_NOT, ARMED_FULL, ARMED_ANY };

/* Shared with the reader, which maps this page; see control.go. */
struct control {
	u32 kinds;    /* the kinds somebody watches */
	u32 armed;    /* what wakes the reader up */
	u32 lost;
	u32 dropped;
	u32 seed_tid; /* children of this task are roots of SCOPE_TREE */
	u32 killing;  /* SCOPE_TREE is to die */
	u64 named;    /* the cgroup that was looked up last and is among cgroups */
	u32 wanted;   /* the groups of fields that somebody reads */
	u32 reserved;
} control;

enum {
	WANT_EXE = 1,
	WANT_CWD = 2,
	WANT_ARGV = 4,
	WANT_CGROUP = 8,
	WANT_USAGE = 16,
};


struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

/* Records that found no room, by kind; one that is two events counts for both. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TW_KINDS);
	__type(key, u32);
	__type(value, u64);
} losses SEC(".maps");

/* Marks the tasks in SCOPE_TREE. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} tree SEC(".maps");

/* Ids of the cgroups whose path was sent. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u8);
} cgroups SEC(".maps");

#define watcher(ev) SEC(".task_watchers." #ev) int __task_watcher_##ev##_stream

#define NAME_MAX_NUL 256
#define PATH_ROOM 4352 /* PATH_MAX and a name */
#define ARGV_CHUNK 16384
#define ARGV_CHUNKS 8
#define CGROUP_ROOM 4096
#define CGROUP_DEPTH 32

struct scratch {
	struct tw_data d;
	u8 data[2 * PATH_ROOM + ARGV_CHUNK];
	/*
	 * Where in data the next name goes. It is here because the verifier
	 * forgets a value that it puts into a map: kept on the stack, it would
	 * be followed through every sum of lengths.
	 */
	u32 off;
	u32 busy; /* of the reports' own */
	void *mnt, *root_mnt; /* as off: known to be pointers, they would be followed, too */
};

/* The exec program's own, one for the iterator, which can be preempted, and one for reports. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 3);
	__type(key, u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline int in_tree(struct task_struct *tsk)
{
	return bpf_task_storage_get(&tree, tsk, NULL, 0) != NULL;
}

static __always_inline int enter_tree(struct task_struct *tsk)
{
	return bpf_task_storage_get(&tree, tsk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE) != NULL;
}

static __always_inline int in_cgroup(struct task_struct *tsk)
{
	struct cgroup *cgrp = tsk->cgroups->dfl_cgrp;
	int level = cgrp->level;

	for (int i = 0; i < CGROUP_DEPTH; i++) {
		struct cgroup *anc;

		if (i > level)
			break;
		if (bpf_probe_read_kernel(&anc, sizeof(anc), (void *)cgrp + field_offset(struct cgroup, ancestors) + i * sizeof(anc)))
			break;
		struct kernfs_node *kn;
		u64 id;
		bpf_probe_read_kernel(&kn, sizeof(kn), (void *)anc + field_offset(struct cgroup, kn));
		bpf_probe_read_kernel(&id, sizeof(id), (void *)kn + field_offset(struct kernfs_node, id));
		if (id == scope_cgroup)
			return 1;
	}
	return 0;
}

static __always_inline int in_scope(struct task_struct *tsk)
{
	if (scope == SCOPE_TREE)
		return in_tree(tsk);
	if (scope == SCOPE_CGROUP)
		return in_cgroup(tsk);
	return 1;
}

static __always_inline void add_loss(u32 kind)
{
	u64 *n = bpf_map_lookup_elem(&losses, &kind);

	if (n)
		*n += 1;
}

/* Counts a record of the given kind that found no room. */
static __noinline void lose(u32 kind)
{
	u32 kinds = control.kinds, events;

	add_loss(kind);
	events = kind < 32 ? kinds >> kind & 1 : 0;
	if (kind == TW_CLONE && clone_is_init && kinds & 1u << TW_INIT) {
		add_loss(TW_INIT);
		events++;
	}
	if (events)
		__sync_fetch_and_add(&control.lost, events);
	__sync_fetch_and_add(&control.dropped, 1);
}

/*
 * How to submit a record: without a wake-up, unless the reader asked for one.
 * Whether the buffer fills up is looked at where many is true, which is enough
 * to be once per task and once per change of a task.
 */
static __always_inline u64 wake(int many)
{
	u32 armed = *(volatile u32 *)&control.armed;

	if (armed == ARMED_NOT)
		return BPF_RB_NO_WAKEUP;
	if (armed == ARMED_FULL && (!many || bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) < wake_bytes))
		return BPF_RB_NO_WAKEUP;
	control.armed = ARMED_NOT;
	return BPF_RB_FORCE_WAKEUP;
}

/* Stores from the leaf to the root the names of a cgroup. */
static __always_inline u32 cgroup_names(struct tw_data *d, u8 *data, struct kernfs_node *kn)
{
	u32 off = 0;

	for (int i = 0; i < CGROUP_DEPTH; i++) {
		struct kernfs_node *up = NULL;
		const char *name;
		long n;

		if (field_exists(struct kernfs_node, __parent))
			bpf_probe_read_kernel(&up, sizeof(up), (void *)kn + field_offset(struct kernfs_node, __parent));
		else
			bpf_probe_read_kernel(&up, sizeof(up), (void *)kn + field_offset(struct kernfs_node___before_6_15, parent));
		if (!up)
			return off;
		bpf_probe_read_kernel(&name, sizeof(name), (void *)kn + field_offset(struct kernfs_node, name));
		if (off > CGROUP_ROOM - NAME_MAX_NUL)
			break;
		n = bpf_probe_read_kernel_str(data + off, NAME_MAX_NUL, name);
		if (n <= 0)
			break;
		off += n & (2 * NAME_MAX_NUL - 1);
		kn = up;
	}
	d->rec.flags |= TW_EXE_CUT;
	return off;
}

struct cgroup_record {
	struct tw_data d;
	u8 data[CGROUP_ROOM];
};

/* Sends the path of a cgroup when its id is new. */
static __noinline int name_cgroup(struct task_struct *tsk)
{
	struct kernfs_node *kn = tsk->cgroups->dfl_cgrp->kn;
	u64 id = kn->id;
	struct cgroup_record *c;
	u8 yes = 1;

	if (control.named == id || !(control.wanted & WANT_CGROUP))
		return 0;
	if (bpf_map_lookup_elem(&cgroups, &id)) {
		control.named = id;
		return 0;
	}
	c = bpf_ringbuf_reserve(&ring, sizeof(*c), 0);
	if (!c) {
		lose(TW_CGROUP);
		return 0;
	}
	__builtin_memset(&c->d, 0, sizeof(c->d));
	c->d.rec.kind = TW_CGROUP;
	c->d.rec.cgroup = id;
	c->d.rec.lost = control.lost;
	c->d.rec.dropped = control.dropped;
	c->d.exe_len = cgroup_names(&c->d, c->data, kn);
	bpf_ringbuf_submit(c, wake(1));
	bpf_map_update_elem(&cgroups, &id, &yes, 0);
	return 0;
}

/* Fills in what is left of a task that is freed. */
static __always_inline void fill_head(struct tw_rec *r, u16 kind, u64 val, u64 time, struct task_struct *tsk)
{
	r->kind = kind;
	r->flags = 0;
	r->pid = 0;
	r->tid = 0;
	r->ppid = 0;
	r->lost = control.lost;
	r->dropped = control.dropped;
	r->time = time;
	r->task = (u64)tsk;
	r->start = tsk->start_boottime;
	r->val = val;
}

/* Fills in what every other record has. */
static __always_inline void fill_at(struct tw_rec *r, u16 kind, u64 val, u64 time, struct task_struct *tsk)
{
	const struct cred *cred = tsk->cred;
	const u64 *comm = (void *)tsk + field_offset(struct task_struct, comm);

	fill_head(r, kind, val, time, tsk);
	r->flags = tsk->flags & PF_KTHREAD ? TW_KTHREAD : 0;
	r->pid = tsk->tgid;
	r->tid = tsk->pid;
	r->ppid = tsk->real_parent->tgid;
	r->creator = 0;
	r->cgroup = control.wanted & WANT_CGROUP ? tsk->cgroups->dfl_cgrp->kn->id : 0;
	r->uid[0] = cred->uid.val;
	r->uid[1] = cred->euid.val;
	r->uid[2] = cred->suid.val;
	r->uid[3] = cred->fsuid.val;
	r->gid[0] = cred->gid.val;
	r->gid[1] = cred->egid.val;
	r->gid[2] = cred->sgid.val;
	r->gid[3] = cred->fsgid.val;
	((u64 *)r->comm)[0] = comm[0];
	((u64 *)r->comm)[1] = comm[1];
}

static __always_inline void fill(struct tw_rec *r, u16 kind, u64 val, struct task_struct *tsk)
{
	fill_at(r, kind, val, bpf_ktime_get_ns(), tsk);
}

/*
 * init comes so early, where it can be refused, that the new task is not told
 * from its creator by more than its address and its credentials.
 */
watcher(init)(unsigned long flags, struct task_struct *tsk)
{
	struct task_struct *creator = bpf_get_current_task_btf();
	struct task_struct *placed = init_early ? creator : tsk; /* where it has a cgroup */
	struct tw_rec *r;

	if (scope == SCOPE_TREE) {
		if (!in_tree(creator) && (u32)creator->pid != control.seed_tid)
			return 0;
		if (!enter_tree(tsk)) {
			lose(TW_INIT);
			return 0;
		}
	} else if (!in_scope(placed)) {
		return 0;
	}
	name_cgroup(placed);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		lose(TW_INIT);
		return 0;
	}
	fill(r, TW_INIT, flags, tsk);
	r->pid = 0;
	r->tid = 0;
	r->start = 0;
	r->creator = (u64)creator;
	r->ppid = flags & (CLONE_PARENT | CLONE_THREAD) ? creator->real_parent->tgid : creator->tgid;
	if (r->cgroup)
		r->cgroup = placed->cgroups->dfl_cgrp->kn->id;
	bpf_ringbuf_submit(r, wake(1));
	return 0;
}

/* clone: the task is complete, and cannot run yet. */
watcher(clone)(unsigned long flags, struct task_struct *tsk)
{
	struct task_struct *creator = bpf_get_current_task_btf();
	struct tw_rec *r;

	if (scope == SCOPE_TREE) {
		if (!in_tree(creator)) {
			if ((u32)creator->pid != control.seed_tid)
				return 0;
		} else if (control.killing) {
			bpf_send_signal(SIGKILL); /* or it would outrun the reader */
		}
		if (!enter_tree(tsk)) {
			lose(TW_CLONE);
			return 0;
		}
	} else if (!in_scope(tsk)) {
		return 0;
	}
	name_cgroup(tsk);
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		lose(TW_CLONE);
		return 0;
	}
	/* The kernel has just read the clock for the task; to read it again takes 50 ns. */
	fill_at(r, TW_CLONE, flags, tsk->start_time, tsk);
	r->creator = (u64)creator;
	bpf_ringbuf_submit(r, wake(1));
	return 0;
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

#define READ(dst, src, type, field) \
	bpf_probe_read_kernel(&(dst), sizeof(dst), (void *)(src) + field_offset(type, field))

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
		READ(root_mnt, &fs->root, struct path, mnt);
		w.mnt = mnt - field_offset(struct mount, mnt);
		w.root_mnt = root_mnt - field_offset(struct mount, mnt);
		READ(w.dentry, path, struct path, dentry);
		READ(w.root, &fs->root, struct path, dentry);
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
 * that the verifier does not know to be one.
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

struct argv_walk {
	struct scratch *s;
	u64 from, to; /* what is left, in user memory */
	u32 sent, failed;
};

/* Sends one full piece of a long argv. */
static long send_argv(u64 i, struct argv_walk *w)
{
	struct scratch *s = w->s;

	if (w->to - w->from <= ARGV_CHUNK)
		return 1;
	if (bpf_probe_read_user(s->data, ARGV_CHUNK, (void *)w->from)) {
		w->failed = 1;
		return 1;
	}
	s->d.rec.lost = control.lost;
	s->d.rec.dropped = control.dropped;
	s->d.argv_off = w->sent;
	s->d.exe_len = 0;
	s->d.cwd_len = 0;
	s->d.argv_len = ARGV_CHUNK;
	if (bpf_ringbuf_output(&ring, s, sizeof(struct tw_data) + ARGV_CHUNK, wake(1))) {
		lose(TW_ARGV);
		w->failed = 1;
		return 1;
	}
	w->from += ARGV_CHUNK;
	w->sent += ARGV_CHUNK;
	return 0;
}

static __always_inline u32 clamp(u32 n, u32 max)
{
	asm volatile("" : "+r"(n));
	return n > max ? max : n;
}

static __always_inline int stream_exec(struct task_struct *tsk)
{
	struct mm_struct *mm = tsk->mm;
	struct argv_walk argv = {};
	struct scratch *s;
	u32 zero = 0, exe = 0, cwd = 0, len, size, wanted = control.wanted;
	u16 flags = 0;

	if (!mm || !in_scope(tsk))
		return 0;
	name_cgroup(tsk);
	s = bpf_map_lookup_elem(&scratch, &zero);
	if (!s)
		return 0;

	argv.s = s;
	argv.from = mm->arg_start;
	argv.to = mm->arg_end;
	if (!(wanted & WANT_ARGV)) {
		argv.to = argv.from;
		flags |= TW_ARGV_LEFT;
	}
	if (argv.to - argv.from > ARGV_CHUNK) {
		if (argv.to - argv.from > ARGV_CHUNK * ARGV_CHUNKS) {
			argv.to = argv.from + ARGV_CHUNK * ARGV_CHUNKS;
			flags |= TW_ARGV_CUT;
		}
		fill(&s->d.rec, TW_ARGV, 0, tsk);
		bpf_loop(ARGV_CHUNKS, send_argv, &argv, 0);
	}

	fill(&s->d.rec, TW_EXEC, 0, tsk);
	if (wanted & WANT_EXE)
		exe = clamp(store_path(s, 0, &mm->exe_file->f_path, tsk->fs, TW_EXE_GONE, TW_EXE_CUT, &flags), PATH_ROOM);
	else
		flags |= TW_EXE_CUT;
	if (wanted & WANT_CWD)
		cwd = clamp(store_path(s, exe, &tsk->fs->pwd, tsk->fs, TW_CWD_GONE, TW_CWD_CUT, &flags), PATH_ROOM);
	else
		flags |= TW_CWD_CUT;
	len = argv.failed ? 0 : clamp(argv.to - argv.from, ARGV_CHUNK);
	if (bpf_probe_read_user(s->data + exe + cwd, len, (void *)argv.from)) {
		argv.failed = 1;
		len = 0;
	}
	if (argv.failed)
		flags |= TW_ARGV_CUT;
	s->d.rec.flags |= flags;
	s->d.exe_len = exe;
	s->d.cwd_len = cwd;
	s->d.argv_len = len;
	s->d.argv_off = argv.sent;
	size = clamp(sizeof(s->d) + exe + cwd + len, sizeof(*s));
	if (bpf_ringbuf_output(&ring, s, size, wake(1)))
		lose(TW_EXEC);
	return 0;
}

watcher(exec)(unsigned long val, struct task_struct *tsk)
{
	return stream_exec(tsk);
}

/* One counter of resident pages. It may be negative for a moment. */
#define RSS(i)                                                                       \
	({                                                                           \
		s64 n = 0;                                                           \
		if (type_exists(struct mm_rss_stat))                                 \
			READ(n, mm, struct mm_struct___before_6_2, rss_stat.count[i].counter); \
		else                                                                 \
			n = mm->rss_stat[i].count;                                   \
		n > 0 ? n : 0;                                                       \
	})

/* Resident pages of an address space: file, anonymous and shared, without swap. */
static __always_inline u64 rss(struct mm_struct *mm)
{
	return RSS(0) + RSS(1) + RSS(3);
}

/*
 * The last thread of a process finds the mark that the kernel made for its
 * parent's wait. For others the address space tells, where they still have
 * one: before Linux 6.16 they do not.
 */
static __noinline void maxrss(struct tw_exit *x, struct task_struct *tsk, int group)
{
	u64 mark = tsk->signal->maxrss;
	struct mm_struct *mm;

	if (!group) {
		mm = tsk->mm;
		if (!mm)
			mm = tsk->group_leader->mm;
		if (!mm) {
			x->rec.flags |= TW_NO_MAXRSS;
			return;
		}
		u64 high = mm->hiwater_rss, now = rss(mm);
		if (mark < high)
			mark = high;
		if (mark < now)
			mark = now;
	}
	x->maxrss = mark;
}

/* An exit of which nobody wants to know what the task used. */
static __always_inline int stream_short_exit(u64 code, struct task_struct *tsk, int group)
{
	struct tw_rec *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);

	if (!r) {
		lose(TW_EXIT);
		return 0;
	}
	fill(r, TW_EXIT, code, tsk);
	r->flags |= TW_NO_USAGE;
	if (group)
		r->flags |= TW_GROUP;
	bpf_ringbuf_submit(r, wake(0));
	return 0;
}

static __always_inline int stream_exit(u64 code, struct task_struct *tsk)
{
	int group = tsk->signal->live.counter == 0;
	struct tw_exit *x;

	if (!in_scope(tsk))
		return 0;
	if (!(control.wanted & WANT_USAGE) || !(control.kinds & 1u << TW_EXIT))
		return stream_short_exit(code, tsk, group);
	x = bpf_ringbuf_reserve(&ring, sizeof(*x), 0);
	if (!x) {
		lose(TW_EXIT);
		return 0;
	}
	fill(&x->rec, TW_EXIT, code, tsk);
	if (group)
		x->rec.flags |= TW_GROUP;
	x->utime = tsk->utime;
	x->stime = tsk->stime;
	x->runtime = tsk->se.sum_exec_runtime;
	x->maxrss = 0;
	maxrss(x, tsk, group);
	x->minflt = tsk->min_flt;
	x->majflt = tsk->maj_flt;
	x->nvcsw = tsk->nvcsw;
	x->nivcsw = tsk->nivcsw;
	x->read_bytes = 0;
	x->write_bytes = 0;
	if (field_exists(struct task_io_accounting, read_bytes)) {
		x->read_bytes = tsk->ioac.read_bytes;
		x->write_bytes = tsk->ioac.write_bytes;
	} else {
		x->rec.flags |= TW_NO_IO;
	}
	bpf_ringbuf_submit(x, wake(0));
	return 0;
}

watcher(exit)(unsigned long code, struct task_struct *tsk)
{
	return stream_exit(code, tsk);
}

watcher(free)(unsigned long code, struct task_struct *tsk)
{
	struct tw_rec *r;

	if (scope == SCOPE_TREE && !in_tree(tsk))
		return 0;
	r = bpf_ringbuf_reserve(&ring, offsetof(struct tw_rec, creator), 0);
	if (!r) {
		lose(TW_FREE);
		return 0;
	}
	fill_head(r, TW_FREE, code, bpf_ktime_get_ns(), tsk);
	bpf_ringbuf_submit(r, wake(0));
	return 0;
}

static __noinline void store_ids(struct tw_ids *r, u16 kind, struct task_ids *ids)
{
	r->cause = 0;
	r->reserved = 0;
	if (!ids) {
		__builtin_memset(r->old, 0, sizeof(r->old));
		return;
	}
	r->cause = ids->cause;
	for (int i = 0; i < 4; i++) {
		r->old[i] = ids->old[i];
		if (kind == TW_UID)
			r->rec.uid[i] = ids->now[i];
		else
			r->rec.gid[i] = ids->now[i];
	}
}

/*
 * The credentials of tsk may still be the old ones, so that a record of uid
 * tells nothing about group ids, and the other way round.
 */
static __always_inline int stream_ids(u16 kind, struct task_struct *tsk, struct task_ids *ids)
{
	struct tw_ids *r;

	if (!in_scope(tsk))
		return 0;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		lose(kind);
		return 0;
	}
	fill(&r->rec, kind, 0, tsk);
	store_ids(r, kind, ids);
	bpf_ringbuf_submit(r, wake(1));
	return 0;
}

watcher(uid)(unsigned long val, struct task_struct *tsk, struct task_ids *ids)
{
	return stream_ids(TW_UID, tsk, ids);
}

watcher(gid)(unsigned long val, struct task_struct *tsk, struct task_ids *ids)
{
	return stream_ids(TW_GID, tsk, ids);
}

static __always_inline int has(const volatile u64 *set, u64 nr)
{
	return nr < 512 && set[nr >> 6 & 7] >> (nr & 63) & 1;
}

static __always_inline u64 syscall_number(struct pt_regs *regs)
{
	u64 nr = 0;

	if (field_exists(struct pt_regs, orig_ax))
		READ(nr, regs, struct pt_regs, orig_ax);
	if (field_exists(struct pt_regs___arm64, syscallno)) {
		s32 n;

		READ(n, regs, struct pt_regs___arm64, syscallno);
		nr = (u32)n;
	}
	return nr;
}

/* Whether a task is in a system call of the 32-bit table (x86). */
static __always_inline int compat(struct task_struct *tsk)
{
	return field_exists(struct thread_info, status) && tsk->thread_info.status & 2 /* TS_COMPAT */;
}

/* The argv that an execve or execveat was called with, or 0 where it cannot be told. */
static __always_inline u64 argv_wanted(struct task_struct *tsk)
{
	struct pt_regs *regs = bpf_task_pt_regs(tsk);
	u64 argv = 0, at, nr = syscall_number(regs);

	at = nr == execveat_syscall;
	if (compat(tsk) || (nr != execve_syscall && !at))
		return 0;
	if (field_exists(struct pt_regs, si)) {
		if (at)
			READ(argv, regs, struct pt_regs, dx);
		else
			READ(argv, regs, struct pt_regs, si);
	}
	if (field_exists(struct pt_regs___arm64, regs)) {
		if (at)
			READ(argv, regs, struct pt_regs___arm64, regs[2]);
		else
			READ(argv, regs, struct pt_regs___arm64, regs[1]);
	}
	return argv;
}

#define ARG_ROOM 4096

struct arg_walk {
	struct scratch *s;
	u64 argv;
	u32 done;
};

static long next_arg(u64 i, struct arg_walk *w)
{
	struct scratch *s = w->s;
	u32 off = s->off;
	void *arg = NULL;
	long n;

	if (bpf_probe_read_user(&arg, sizeof(arg), (void *)(w->argv + 8 * i)))
		return 1;
	if (!arg) {
		w->done = 1;
		return 1;
	}
	if (off > sizeof(s->data) - ARG_ROOM)
		return 1;
	n = bpf_probe_read_user_str(s->data + off, ARG_ROOM, arg);
	if (n <= 0)
		return 1;
	s->off = off + ((u32)n & (2 * ARG_ROOM - 1));
	return n == ARG_ROOM; /* it may have been longer */
}

/*
 * The program of an exec. While it is only asked for, its arguments are where
 * the caller has them; afterwards, and in a refusal that comes too late, the
 * task has them.
 */
static __always_inline void store_exec(struct scratch *s, struct task_struct *tsk, struct linux_binprm *bprm)
{
	struct arg_walk args = {.s = s};
	struct mm_struct *mm = NULL;
	struct file *file = NULL;
	u16 flags = 0;
	u32 exe, cwd, len;

	READ(mm, bprm, struct linux_binprm, mm);
	if (mm) {
		READ(file, bprm, struct linux_binprm, file);
		flags |= TW_WANTED;
	} else {
		mm = tsk->mm;
		if (!mm) {
			s->d.rec.flags |= TW_EXE_CUT | TW_CWD_CUT | TW_ARGV_CUT;
			return;
		}
		READ(file, mm, struct mm_struct, exe_file);
	}
	exe = clamp(store_untyped_path(s, 0, (void *)file + field_offset(struct file, f_path), tsk->fs, TW_EXE_GONE, TW_EXE_CUT, &flags), PATH_ROOM);
	cwd = clamp(store_path(s, exe, &tsk->fs->pwd, tsk->fs, TW_CWD_GONE, TW_CWD_CUT, &flags), PATH_ROOM);
	s->off = exe + cwd;
	if (flags & TW_WANTED) {
		args.argv = argv_wanted(tsk);
		if (args.argv)
			bpf_loop(ARGV_CHUNK, next_arg, &args, 0);
		len = clamp(s->off - exe - cwd, sizeof(s->data));
	} else {
		u64 start = 0, end = 0;

		READ(start, mm, struct mm_struct, arg_start);
		READ(end, mm, struct mm_struct, arg_end);
		args.done = end - start <= ARGV_CHUNK;
		len = clamp(end - start, ARGV_CHUNK);
		if (bpf_probe_read_user(s->data + exe + cwd, len, (void *)start)) {
			args.done = 0;
			len = 0;
		}
	}
	if (!args.done)
		flags |= TW_ARGV_CUT;
	s->d.rec.flags |= flags;
	s->d.exe_len = exe;
	s->d.cwd_len = cwd;
	s->d.argv_len = len;
}

/*
 * The scratch of reports is in use if the task that uses it was preempted,
 * which can happen in a hook of an LSM: then the program is told as unknown.
 */
static __noinline int report_exec(u64 who, int err, struct task_struct *tsk, struct linux_binprm *bprm)
{
	u32 two = 2, size;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &two);

	if (!s || __sync_val_compare_and_swap(&s->busy, 0, 1))
		return 0;
	fill(&s->d.rec, TW_REPORT, who, tsk);
	s->d.argv_off = -err;
	s->d.exe_len = 0;
	s->d.cwd_len = 0;
	s->d.argv_len = 0;
	store_exec(s, tsk, bprm);
	size = clamp(sizeof(s->d) + s->d.exe_len + s->d.cwd_len + s->d.argv_len, sizeof(*s));
	if (bpf_ringbuf_output(&ring, s, size, wake(1)))
		lose(TW_REPORT);
	s->busy = 0;
	return 1;
}

struct plain_report {
	struct tw_data d;
	struct task_ids ids;
};

/* Called by the table behind each watcher that failed. */
SEC(".task_watchers.report")
int report(unsigned long val, struct task_struct *tsk, u64 who, int err, void *detail)
{
	u32 event = who >> 40;
	struct plain_report *r;

	if (event == TW_EXEC && report_exec(who, err, tsk, detail))
		return 0;
	r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
	if (!r) {
		lose(TW_REPORT);
		return 0;
	}
	fill(&r->d.rec, TW_REPORT, who, tsk);
	r->d.rec.creator = val;
	r->d.argv_off = -err;
	r->d.exe_len = 0;
	r->d.cwd_len = 0;
	r->d.argv_len = 0;
	if (event == TW_EXEC)
		r->d.rec.flags |= TW_EXE_CUT | TW_CWD_CUT | TW_ARGV_CUT;
	if ((event == TW_UID || event == TW_GID) && !bpf_probe_read_kernel(&r->ids, sizeof(r->ids), detail))
		r->d.argv_len = sizeof(r->ids);
	bpf_ringbuf_submit(r, wake(1));
	return 0;
}

/* Called by the table for task_watcher_emit(). */
SEC(".task_watchers.emit")
long emit(u32 module, void *data, u32 size)
{
	struct tw_data d = {};
	struct bpf_dynptr ptr;

	if (size > 4096)
		return -7; /* E2BIG */
	fill(&d.rec, TW_EMIT, module, bpf_get_current_task_btf());
	d.argv_len = size;
	if (bpf_ringbuf_reserve_dynptr(&ring, sizeof(d) + size, 0, &ptr)) {
		bpf_ringbuf_discard_dynptr(&ptr, BPF_RB_NO_WAKEUP);
		lose(TW_EMIT);
		return -105; /* ENOBUFS */
	}
	bpf_dynptr_write(&ptr, 0, &d, sizeof(d), 0);
	bpf_dynptr_write(&ptr, sizeof(d), data, size, 0);
	bpf_ringbuf_submit_dynptr(&ptr, wake(1));
	return 0;
}

/*
 * The exit of a system call: those that change ids are told by their number.
 * This is for kernels where the table cannot see all of them.
 */
SEC("tp_btf/sys_exit")
int on_sys_exit(u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	struct task_struct *tsk = bpf_get_current_task_btf();
	u64 nr = syscall_number(regs);
	int uid, gid;

	if (compat(tsk)) {
		nr = (u32)nr;
		uid = has(uid_syscalls32, nr);
		gid = has(gid_syscalls32, nr);
	} else {
		uid = has(uid_syscalls, nr);
		gid = has(gid_syscalls, nr);
	}
	if (!uid && !gid)
		return 0;
	if (!in_scope(tsk))
		return 0;
	return stream_ids(uid ? TW_UID : TW_GID, tsk, NULL);
}

/*
 * The end of the process that watches a command: nobody will be left to see
 * what the command does, so its tree ends too. Since Linux 6.13 a program can
 * signal another task, since 6.16 also here, where it has let go of its memory
 * before.
 */
SEC("tp_btf/sched_process_exit")
int on_own_exit(u64 *ctx)
{
	struct task_struct *own = (struct task_struct *)ctx[0];
	struct bpf_iter_task it;
	struct bpf_iter_num tries;
	struct task_struct *tsk;

	if (own->tgid != own_pid || own->signal->live.counter != 0)
		return 0;
	control.killing = 1;
	bpf_iter_task_new(&it, NULL, BPF_TASK_ITER_ALL_THREADS);
	while ((tsk = bpf_iter_task_next(&it))) {
		/* One that is not quite born is not in the tree yet. */
		if (!in_tree(tsk) && !in_tree(tsk->real_parent))
			continue;
		tsk = bpf_task_acquire(tsk);
		if (!tsk)
			continue;
		/* A CPU sends one signal at a time, in an interrupt. */
		bpf_iter_num_new(&tries, 0, 100000);
		while (bpf_iter_num_next(&tries)) {
			if (bpf_send_signal_task(tsk, SIGKILL, PIDTYPE_TGID, 0) != -16 /* EBUSY */)
				break;
		}
		bpf_iter_num_destroy(&tries);
		bpf_task_release(tsk);
	}
	bpf_iter_task_destroy(&it);
	return 0;
}

/* Whether tsk descends from scope_pid. */
struct ancestry {
	struct task_struct *tsk;
	int found;
};

static long climb(u64 i, struct ancestry *a)
{
	s32 pid;

	READ(pid, a->tsk, struct task_struct, tgid);
	if (pid == scope_pid) {
		a->found = 1;
		return 1;
	}
	if (pid <= 1)
		return 1;
	READ(a->tsk, a->tsk, struct task_struct, real_parent);
	return 0;
}

SEC("iter/task")
int iter_tasks(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *tsk = ctx->task;
	struct scratch *s;
	struct fs_struct *fs;
	struct mm_struct *mm;
	u32 one = 1, exe = 0, cwd = 0, size;
	u16 flags = 0;

	if (!tsk)
		return 0;
	if (scope == SCOPE_TREE) {
		struct ancestry a = {.tsk = tsk};

		if (!in_tree(tsk)) {
			if (!scope_pid)
				return 0;
			bpf_loop(64, climb, &a, 0);
			if (!a.found || !enter_tree(tsk))
				return 0;
		}
	} else if (!in_scope(tsk)) {
		return 0;
	}
	name_cgroup(tsk);
	s = bpf_map_lookup_elem(&scratch, &one);
	if (!s)
		return 0;
	fill(&s->d.rec, TW_TASK, (u32)tsk->exit_code, tsk);
	fs = tsk->fs;
	mm = tsk->mm;
	if (fs && mm && !(s->d.rec.flags & TW_KTHREAD)) {
		exe = clamp(store_path(s, 0, &mm->exe_file->f_path, fs, TW_EXE_GONE, TW_EXE_CUT, &flags), PATH_ROOM);
		cwd = clamp(store_path(s, exe, &fs->pwd, fs, TW_CWD_GONE, TW_CWD_CUT, &flags), PATH_ROOM);
	}
	s->d.rec.flags |= flags;
	if (tsk->flags & PF_EXITING)
		s->d.rec.flags |= TW_EXITED;
	s->d.exe_len = exe;
	s->d.cwd_len = cwd;
	s->d.argv_len = 0;
	s->d.argv_off = 0;
	size = clamp(sizeof(s->d) + exe + cwd, sizeof(s->d) + 2 * PATH_ROOM);
	bpf_seq_write(seq, s, size);
	return 0;
}
