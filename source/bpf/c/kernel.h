/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The parts of the kernel's types and helpers that the stream reads. Only the
 * members named here are relocated against the running kernel's BTF, so each
 * type lists what is used and no more.
 *
 * A name with three underscores is the same type as it was, or is, in another
 * kernel version: the loader ignores what follows them.
 */
#ifndef TASKWATCH_STREAM_KERNEL_H
#define TASKWATCH_STREAM_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#define NULL ((void *)0)
#define offsetof(type, field) __builtin_offsetof(type, field)
#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __core __attribute__((preserve_access_index))

/* Defines the stream's watcher of one event; the table calls it. */
#define watcher(ev) SEC(".task_watchers." #ev) int __task_watcher_##ev##_stream

#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name

/* Fields and types of the running kernel. */
#define field_exists(type, field) __builtin_preserve_field_info(((type *)0)->field, 2)
#define field_offset(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)
#define type_exists(type) __builtin_preserve_type_info(*(type *)0, 0)

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
	BPF_F_NO_PREALLOC = 1,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
};

#define CLONE_PARENT 0x00008000
#define CLONE_THREAD 0x00010000

#define SIGKILL 9

#define E2BIG 7
#define EBUSY 16
#define ENOBUFS 105

#define TS_COMPAT 2 /* thread_info.status of x86 */

/* task_struct.flags */
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000

struct bpf_dynptr {
	u64 reserved[2];
};

#define kfunc extern __attribute__((section(".ksyms")))
kfunc void *bpf_rdonly_cast(const void *address, u32 type);

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static long (*bpf_send_signal)(u32 sig) = (void *)109;
static long (*bpf_probe_read_user)(void *dst, u32 size, const void *src) = (void *)112;
static long (*bpf_probe_read_kernel)(void *dst, u32 size, const void *src) = (void *)113;
static long (*bpf_probe_read_user_str)(void *dst, u32 size, const void *src) = (void *)114;
static long (*bpf_probe_read_kernel_str)(void *dst, u32 size, const void *src) = (void *)115;
static long (*bpf_seq_write)(void *seq, const void *data, u32 len) = (void *)127;
static long (*bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static void *(*bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;
static u64 (*bpf_ringbuf_query)(void *ring, u64 what) = (void *)134;
static void *(*bpf_task_storage_get)(void *map, void *task, void *value, u64 flags) = (void *)156;
static void *(*bpf_get_current_task_btf)(void) = (void *)158;
static void *(*bpf_task_pt_regs)(void *task) = (void *)175;
static long (*bpf_ringbuf_reserve_dynptr)(void *ring, u32 size, u64 flags, struct bpf_dynptr *ptr) = (void *)198;
static void (*bpf_ringbuf_submit_dynptr)(struct bpf_dynptr *ptr, u64 flags) = (void *)199;
static void (*bpf_ringbuf_discard_dynptr)(struct bpf_dynptr *ptr, u64 flags) = (void *)200;
static long (*bpf_dynptr_write)(struct bpf_dynptr *dst, u32 off, void *src, u32 len, u64 flags) = (void *)202;
static void *(*bpf_dynptr_data)(const struct bpf_dynptr *ptr, u32 off, u32 len) = (void *)203;
static long (*bpf_loop)(u32 n, void *callback, void *ctx, u64 flags) = (void *)181;
static long (*bpf_strncmp)(const char *s1, u32 size, const char *s2) = (void *)182;

typedef struct { u32 val; } kuid_t;
typedef struct { u32 val; } kgid_t;
typedef struct { int counter; } atomic_t;
typedef struct { s64 counter; } __core atomic64_t;

typedef struct { u64 val; } kernel_cap_t; /* before Linux 6.3 two words of 32 bits, the lower first */

struct ns_common {
	unsigned int inum;
} __core;

struct user_namespace {
	struct ns_common ns;
} __core;

struct mnt_namespace {
	struct ns_common ns;
} __core;

struct net {
	struct ns_common ns;
} __core;

struct pid_namespace {
	struct ns_common ns;
} __core;

struct upid { /* as it is: elements of an array are not relocated */
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
} __core;

struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
} __core;

struct group_info;

struct cred {
	kuid_t uid, suid, euid, fsuid;
	kgid_t gid, sgid, egid, fsgid;
	kernel_cap_t cap_inheritable, cap_permitted, cap_effective, cap_bset, cap_ambient;
	struct user_namespace *user_ns;
	struct group_info *group_info;
} __core;

struct qstr {
	u64 hash_len;
	const unsigned char *name;
} __core;

struct hlist_bl_node {
	void **pprev;
} __core;

typedef struct {
	unsigned int sequence;
} __core seqcount_t;

typedef struct {
	seqcount_t seqcount;
} __core seqcount_spinlock_t;

struct dentry {
	seqcount_spinlock_t d_seq; /* of its name and parent */
	struct dentry *d_parent;
	struct qstr d_name;
	struct hlist_bl_node d_hash;
} __core;

struct vfsmount {
	struct dentry *mnt_root;
} __core;

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
} __core;

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
} __core;

struct fs_struct {
	struct path root, pwd;
} __core;

struct super_block {
	u32 s_dev;
} __core;

struct inode {
	unsigned long i_ino;
	struct super_block *i_sb;
} __core;

struct file {
	struct path f_path;
	struct inode *f_inode;
} __core;

struct percpu_counter {
	s64 count;
} __core;

/* Before Linux 6.2 mm_struct.rss_stat was this struct, not an array of percpu_counter. */
struct mm_rss_stat {
	atomic64_t count[4]; /* atomic_long_t */
} __core;

struct mm_struct {
	unsigned long hiwater_rss;
	unsigned long arg_start, arg_end;
	unsigned long env_start, env_end;
	unsigned long saved_auxv[1];
	struct file *exe_file;
	struct percpu_counter rss_stat[4];
} __core;

struct mm_struct___before_6_2 {
	struct mm_rss_stat rss_stat;
} __core;

struct tty_driver {
	int major, minor_start;
} __core;

struct tty_struct {
	struct tty_driver *driver;
	int index;
} __core;

struct group_info {
	int ngroups;
	kgid_t gid[1];
} __core;

struct signal_struct {
	atomic_t live;
	struct tty_struct *tty;
	unsigned long maxrss;
	struct pid *pids[4]; /* of the task, the process, its group, its session */
} __core;

struct sched_entity {
	u64 sum_exec_runtime;
} __core;

struct task_io_accounting {
	u64 read_bytes, write_bytes;
} __core;

struct kernfs_node {
	struct kernfs_node *__parent; /* since 6.15 */
	const char *name;
	u64 id;
} __core;

struct kernfs_node___before_6_15 {
	struct kernfs_node *parent;
} __core;

struct list_head {
	struct list_head *next;
} __core;

struct cgroup_root {
	int hierarchy_id; /* 0 is the unified one */
} __core;

struct cgroup {
	struct cgroup_root *root;
	struct kernfs_node *kn;
	int level;
	struct cgroup *ancestors[]; /* since 6.1 */
} __core;

struct css_set {
	struct cgroup *dfl_cgrp;
	struct list_head cgrp_links; /* one for each hierarchy */
} __core;

struct cgrp_cset_link {
	struct cgroup *cgrp;
	struct list_head cgrp_link;
} __core;

struct hlist_node {
	struct hlist_node *next;
} __core;

struct hlist_head {
	struct hlist_node *first;
} __core;

/* The values that a task has in maps for its kind. */
struct bpf_local_storage {
	struct hlist_head list;
} __core;

struct bpf_local_storage_data {
	void *smap; /* the map */
	u8 data[1];
} __core;

struct bpf_local_storage_elem {
	struct hlist_node snode;
	struct bpf_local_storage_data sdata;
} __core;

struct thread_info {
	unsigned long flags;
	u32 status; /* x86 */
} __core;

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	s32 pid, tgid;
	int exit_state;
	int exit_code;
	int static_prio;
	u64 self_exec_id;
	struct task_struct *real_parent, *group_leader;
	u64 start_time, start_boottime;
	u64 utime, stime;
	unsigned long nvcsw, nivcsw, min_flt, maj_flt;
	struct sched_entity se;
	const struct cred *cred;
	kuid_t loginuid; /* with CONFIG_AUDIT */
	unsigned int sessionid;
	struct nsproxy *nsproxy;
	struct pid *thread_pid;
	char comm[16];
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct signal_struct *signal;
	struct css_set *cgroups;
	struct task_io_accounting ioac;
	struct bpf_local_storage *bpf_storage;
} __core;

enum pid_type {
	PIDTYPE_TGID = 1,
};

/* Since Linux 6.13. */
struct bpf_iter_task {
	u64 opaque[3];
};

struct bpf_iter_num {
	u64 opaque[1];
};

#define BPF_TASK_ITER_ALL_THREADS 1

kfunc int bpf_iter_task_new(struct bpf_iter_task *it, struct task_struct *task, unsigned int flags);
kfunc struct task_struct *bpf_iter_task_next(struct bpf_iter_task *it);
kfunc void bpf_iter_task_destroy(struct bpf_iter_task *it);
kfunc int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end);
kfunc int *bpf_iter_num_next(struct bpf_iter_num *it);
kfunc void bpf_iter_num_destroy(struct bpf_iter_num *it);
kfunc struct task_struct *bpf_task_acquire(struct task_struct *task);
kfunc void bpf_task_release(struct task_struct *task);
kfunc int bpf_send_signal_task(struct task_struct *task, int sig, enum pid_type type, u64 value);

struct linux_binprm {
	struct mm_struct *mm; /* the new address space, until it is in use */
	struct file *file;
} __core;

/* As in include/task_watchers.h. */
#define TASK_CAUSE_EXEC 2
#define TASK_CAUSE_SETGROUPS 3

struct task_ids {
	u32 old[4], now[4];
	u32 cause, reserved;
};

/* A system call's number, and its arguments. */
struct pt_regs {
	unsigned long orig_ax, di, si, dx, cx, bx; /* x86 */
} __core;

struct pt_regs___arm64 {
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
} __core;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} __core;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __core;

#endif
