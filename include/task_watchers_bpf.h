/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of task_watchers.h for modules that run in the kernel.
 *
 * Watchers run in the context of the task that causes the event, under
 * rcu_read_lock(): they cannot sleep. The exception is free, which runs
 * wherever the last reference is dropped.
 */
#ifndef TASK_WATCHERS_BPF_H
#define TASK_WATCHERS_BPF_H

#define SEC(name) __attribute__((section(name), used))
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif

/* How a map's definition is spelled: see the examples below modules/. */
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]

/* A vmlinux.h that bpftool made may stand before this header: it has all of the
 * kernel's types and constants. */
#ifndef __VMLINUX_H__
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LRU_PERCPU_HASH = 10,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
	BPF_MAP_TYPE_BLOOM_FILTER = 30,
	BPF_MAP_TYPE_CGRP_STORAGE = 32,

	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,

	BPF_F_NO_PREALLOC = 1,
	BPF_F_MMAPABLE = 1024,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
};

struct bpf_spin_lock {
	__u32 val;
};
#endif

/*
 * The part of the kernel's types that watchers need. Only the names count:
 * the loader finds each field's place in the running kernel. A module may
 * declare more of them, in the same way, under a name with a suffix after
 * three underscores (struct task_struct___mine).
 */
#ifndef __VMLINUX_H__
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned int val;
} kgid_t;

typedef struct {
	int counter;
} atomic_t;

struct list_head {
	struct list_head *next, *prev;
};

struct hlist_bl_node {
	struct hlist_bl_node *next, **pprev; /* pprev is NULL in what is in no list */
};

struct qstr {
	__u32 len;
	const unsigned char *name;
};

struct super_block {
	__u32 s_dev;
};

struct inode {
	unsigned short i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
};

struct dentry {
	struct hlist_bl_node d_hash; /* in no list: its name was removed */
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};

struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
};

struct user_namespace {
	struct user_namespace *parent; /* NULL for the first */
	int level;                     /* 0 for the first */
};

struct mnt_namespace {
	struct user_namespace *user_ns;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns; /* NULL once it is detached */
	int mnt_id;                   /* the first number in /proc/PID/mountinfo */
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
};

struct mm_struct {
	struct file *exe_file;
	unsigned long hiwater_rss;
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long start_stack;
};

struct linux_binprm {
	struct mm_struct *mm; /* the new address space, until it is in use */
	struct file *file;
	struct cred *cred;
	int argc;
	int envc;
	const char *filename; /* as the caller wrote it */
	const char *interp;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t suid;
	kgid_t sgid;
	kuid_t euid;
	kgid_t egid;
	kuid_t fsuid;
	kgid_t fsgid;
};

struct upid {
	int nr;
};

struct pid {
	unsigned int level;
	struct upid numbers[1]; /* one for each pid namespace, the first one's first */
};

struct signal_struct {
	atomic_t live; /* threads that have not begun to exit */
	int nr_threads;
	struct pid *pids[4]; /* of the task, the process, its group, its session */
	int group_exit_code;
	__u64 utime;
	__u64 stime;
};

struct kernfs_node {
	__u64 id;
};

struct sched_entity {
	__u64 sum_exec_runtime;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	unsigned int flags;
	struct sched_entity se;
	struct mm_struct *mm;
	int exit_state;
	int exit_code;
	int exit_signal;
	int pid;  /* the task: see task_tid() */
	int tgid; /* the thread group: see task_pid() */
	struct task_struct *real_parent;
	struct list_head children; /* list of their sibling */
	struct list_head sibling;
	struct task_struct *group_leader;
	__u64 utime; /* ns, as sampled at the tick */
	__u64 stime;
	unsigned long nvcsw;
	unsigned long nivcsw;
	__u64 start_time;     /* ns, CLOCK_MONOTONIC */
	__u64 start_boottime; /* ns, CLOCK_BOOTTIME */
	unsigned long min_flt;
	unsigned long maj_flt;
	const struct cred *real_cred;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct signal_struct *signal;
	struct css_set *cgroups;
};

#pragma clang attribute pop
#endif /* __VMLINUX_H__ */

/* The helpers of the kernel that watchers need, by the kernel's own names and
 * numbers. A module may declare others. Those that act need MODULE_POWER. */
#ifndef __BPF_HELPERS__
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_trace_printk)(const char *fmt, __u32 fmt_size, ...) = (void *)6;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static __u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;
static long (*const bpf_get_current_comm)(void *buf, __u32 size) = (void *)16;
static __u64 (*const bpf_get_current_cgroup_id)(void) = (void *)80;
static long (*const bpf_map_push_elem)(void *map, const void *value, __u64 flags) = (void *)87;
static long (*const bpf_map_peek_elem)(void *map, void *value) = (void *)89; /* 0: a Bloom filter may have it */
static void (*const bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static void (*const bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
static long (*const bpf_send_signal)(__u32 sig) = (void *)109;
static long (*const bpf_probe_read_user)(void *dst, __u32 size, const void *src) = (void *)112;
static long (*const bpf_probe_read_kernel)(void *dst, __u32 size, const void *src) = (void *)113;
static long (*const bpf_probe_read_user_str)(void *dst, __u32 size, const void *src) = (void *)114;
static long (*const bpf_probe_read_kernel_str)(void *dst, __u32 size, const void *src) = (void *)115;
static __u64 (*const bpf_get_current_ancestor_cgroup_id)(int level) = (void *)123;
static __u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)125;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *data, __u64 flags) = (void *)133;
static void *(*const bpf_task_storage_get)(void *map, struct task_struct *task, void *value, __u64 flags) = (void *)156;
static long (*const bpf_task_storage_delete)(void *map, struct task_struct *task) = (void *)157;
static struct task_struct *(*const bpf_get_current_task_btf)(void) = (void *)158;
static long (*const bpf_for_each_map_elem)(void *map, void *callback, void *ctx, __u64 flags) = (void *)164;
static long (*const bpf_snprintf)(char *str, __u32 size, const char *fmt, __u64 *data, __u32 data_size) = (void *)165;
static void *(*const bpf_task_pt_regs)(struct task_struct *task) = (void *)175; /* a struct pt_regs */
static long (*const __tw_bpf_loop)(__u32 n, void *callback, void *ctx, __u64 flags) = (void *)181;
static long (*const bpf_strncmp)(const char *s1, __u32 size, const char *s2) = (void *)182; /* s2: a parameter or a literal */
static void *(*const bpf_cgrp_storage_get)(void *map, struct cgroup *cgroup, void *value, __u64 flags) = (void *)210;
static long (*const bpf_cgrp_storage_delete)(void *map, struct cgroup *cgroup) = (void *)211;

/*
 * bpf_loop - call callback(i, ctx) for i from 0 to n - 1, until it returns 1
 *
 * A parameter is a constant when the module is loaded. Of a loop whose count is
 * known to be 0 the verifier drops the callback and not the call, and Linux 6.12
 * then warns and fails with EFAULT. So a count that is no constant here is kept
 * from it: no process id has the upper bit.
 */
static __always_inline long bpf_loop(__u32 n, void *callback, void *ctx, __u64 flags)
{
	if (!__builtin_constant_p(n) || !n)
		n += bpf_get_current_pid_tgid() >> 63;
	return __tw_bpf_loop(n, callback, ctx, flags);
}
#endif

/*
 * task_watcher_func - call fn on every event ev
 * @ev: init, clone, exec, uid, gid, exit, free, attach, detach, execed or step
 * @fn: int fn(unsigned long val, struct task_struct *tsk)
 *
 * Watchers of one event are called in the order in which they stand in the
 * source.
 *
 * A module with attach or detach knows each task from attach or init on, one of
 * the two, until free or detach. It is called for nothing else of a task. At
 * attach and detach the running task is not tsk: it is taskwatch, as a rule.
 */
#define task_watcher_func(ev, fn)                                                            \
	SEC(".task_watchers." #ev)                                                           \
	int __task_watcher_##ev##_##fn(unsigned long tw_val, struct task_struct *tw_tsk)     \
	{                                                                                    \
		_Static_assert(TW_JOIN(tw_event_, ev) <= WATCH_TASK_STEP, "");               \
		TW_CHECK_WATCHER(fn);                                                        \
		return fn(tw_val, tw_tsk);                                                   \
	}

/*
 * task_ids_watcher_func - like task_watcher_func(), with the ids
 * @ev: uid or gid
 * @fn: int fn(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)
 */
#define task_ids_watcher_func(ev, fn)                                                        \
	SEC(".task_watchers." #ev)                                                           \
	int __task_watcher_##ev##_##fn(unsigned long tw_val, struct task_struct *tw_tsk,     \
				       const struct task_ids *tw_ids)                        \
	{                                                                                    \
		_Static_assert(TW_JOIN(tw_event_, ev) == WATCH_TASK_UID ||                   \
			       TW_JOIN(tw_event_, ev) == WATCH_TASK_GID, "only uid and gid have ids"); \
		TW_CHECK_IDS_WATCHER(fn);                                                    \
		return fn(tw_val, tw_tsk, tw_ids);                                           \
	}

#define TW_CHECK_EXEC_WATCHER(fn)                                                            \
	_Static_assert(TW_IS(fn, int (*)(unsigned long, struct task_struct *, struct linux_binprm *), \
			     int (*)(unsigned long, const struct task_struct *, const struct linux_binprm *)), \
		       "a watcher with the program is a function int " #fn "(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)")

/*
 * task_exec_watcher_func - like task_watcher_func(exec, fn), with the program
 * @fn: int fn(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
 *
 * Kernel only: the sandbox has no struct linux_binprm.
 */
#define task_exec_watcher_func(fn)                                                           \
	SEC(".task_watchers.exec")                                                           \
	int __task_watcher_exec_##fn(unsigned long tw_val, struct task_struct *tw_tsk,       \
				     struct linux_binprm *tw_bprm)                           \
	{                                                                                    \
		TW_CHECK_EXEC_WATCHER(fn);                                                   \
		return fn(tw_val, tw_tsk, tw_bprm);                                          \
	}

/*
 * task_execed_watcher_func - like task_exec_watcher_func(fn), after every exec
 * that has succeeded
 *
 * With MODULE_VETO(exec), watchers of exec are called while it is decided, and
 * the exec can still fail. What depends on its success is done here.
 */
#define task_execed_watcher_func(fn)                                                         \
	SEC(".task_watchers.execed")                                                         \
	int __task_watcher_execed_##fn(unsigned long tw_val, struct task_struct *tw_tsk,     \
				       struct linux_binprm *tw_bprm)                         \
	{                                                                                    \
		TW_CHECK_EXEC_WATCHER(fn);                                                   \
		return fn(tw_val, tw_tsk, tw_bprm);                                          \
	}

/*
 * task_step_watcher_func - like task_exec_watcher_func(fn), at each step of an exec
 *
 * The kernel looks at the program, if that is a script at its interpreter, if that
 * is one at the next, up to five. It asks about each before it opens what that one
 * names (security_bprm_check), and so does it here: val is the number of the step, 0
 * for the program, or TASK_STEP_UNKNOWN for an interpreter if there was no memory.
 * bprm->file is the file of the step. With MODULE_VETO(exec) an error denies the exec.
 *
 * Watchers of exec are asked about the program and about the last interpreter.
 */
#define TASK_STEP_UNKNOWN (~0ul)

#define task_step_watcher_func(fn)                                                           \
	SEC(".task_watchers.step")                                                           \
	int __task_watcher_step_##fn(unsigned long tw_val, struct task_struct *tw_tsk,       \
				     struct linux_binprm *tw_bprm)                           \
	{                                                                                    \
		TW_CHECK_EXEC_WATCHER(fn);                                                   \
		return fn(tw_val, tw_tsk, tw_bprm);                                          \
	}

#define TW_MODINFO(tag, info)                                                                \
	static const char TW_JOIN(__tw_modinfo_, __COUNTER__)[] SEC(".modinfo") = tag "=" info

TW_MODINFO("task_watchers", TW_STRING(TASK_WATCHERS_API));

/* MODULE_LICENSE - one of "GPL", "GPL v2", "GPL and additional rights",
 * "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL". Nothing else is loaded. */
#define MODULE_LICENSE(license) char _license[] SEC("license") = license

/*
 * module_param - a value that the user may set when the module is loaded
 *
 *	module_param(limit, __u32, 100);
 *	MODULE_PARM_DESC(limit, "how many live tasks one user may have");
 *
 * It cannot change afterwards. Types are the integers, bool, and strings of a
 * fixed size: module_param_string(prefix, 128, "/opt/").
 */
#define module_param(name, type, value)                                                      \
	TW_CHECK_NUMBER(type);                                                               \
	const volatile type name = value
#define module_param_string(name, size, value)                                               \
	TW_CHECK_TEXT(size, value);                                                          \
	const volatile char name[size] = value

/*
 * module_param_array - a list that the user may set, as name=1:2:3
 * @room: how many values it may have, at least 2
 *
 * name##_count says how many it has; the rest is 0. A loop over it runs to room,
 * and ends at the count: the verifier has to see its end.
 */
#define module_param_array(name, type, room)                                                 \
	_Static_assert((room) > 1, "a list has room for two at least");                      \
	TW_CHECK_LIST(type);                                                                 \
	const volatile type name[room] = {};                                                 \
	const volatile __u32 name##_count = 0

/*
 * MODULE_SHARED - the map is one with those of the same name in other modules
 *
 *	struct {
 *		__uint(type, BPF_MAP_TYPE_HASH);
 *		__uint(max_entries, 4096);
 *		__type(key, __u32);
 *		__type(value, struct account);
 *	} accounts SEC(".maps");
 *	MODULE_SHARED(accounts);
 *
 * Each module that declares it so has the map, of the same type, key, value and
 * size. It is made with the first, and gone with the last.
 */
#define MODULE_SHARED(map)                                                                   \
	_Static_assert(sizeof(map) > 0, "");                                                 \
	TW_MODINFO("shared", #map)

/*
 * MODULE_ATTACH_AT_LEAST_ONCE - each task meets attach or clone, or both
 *
 * Without it, each task meets exactly one of attach and init, and taskwatch keeps of
 * each what it has met, which costs each fork. With it, attach is called at any moment
 * of a task's life, perhaps twice, and other watchers may be called before: what attach
 * and clone do must be right then, too. Such a module has no detach.
 */
#define MODULE_ATTACH_AT_LEAST_ONCE TW_MODINFO("attach", "at least once")

/* MODULE_READS - for the sandbox; here all fields are there */
#define MODULE_READS(field) _Static_assert(sizeof(#field) > 1, "")
#define MODULE_READS_ONLY() _Static_assert(1, "")

/* MODULE_GLOBAL - for the sandbox; here all variables can be read from outside */
#define MODULE_GLOBAL(name) _Static_assert(sizeof(name) > 0, "")

/*
 * task_watcher_emit - send a record to user space
 * @data: on the stack or in a map
 * @size: a constant, at most 4096
 *
 * Returns 0, or a negative errno if there was no room or nobody listens: records
 * of all modules have half of the room, so that they take none from events. The
 * record arrives tagged with the module's name, in order with the events.
 */
long __task_watcher_emit(const void *data, __u32 size);
#define TW_EMIT_MAX 4096
#define TW_EMIT_CHECK(size)                                                                  \
	_Static_assert(__builtin_choose_expr(__builtin_constant_p(size), size, 0) <= TW_EMIT_MAX, \
		       "a record has at most 4096 bytes")
#define task_watcher_emit(data, size)                                                        \
	({                                                                                   \
		TW_EMIT_CHECK(size);                                                         \
		__task_watcher_emit(data, size);                                             \
	})

/*
 * task_watcher_emit_struct - the same with a struct, which arrives as JSON
 * @v: a pointer to it
 *
 *	struct note note = {.uid = task_uid(tsk)};
 *
 *	task_watcher_emit_struct(&note);	is {"uid":1000}
 *
 * Arrays of char are strings; pointers are hexadecimal.
 */
long __task_watcher_emit_struct(const void *data, __u32 size, __u32 type);
#define task_watcher_emit_struct(v)                                                          \
	({                                                                                   \
		TW_EMIT_CHECK(sizeof(*(v)));                                                 \
		__task_watcher_emit_struct(v, sizeof(*(v)), __builtin_btf_type_id(*(v), 0)); \
	})

/*
 * task_watcher_log - say something to who runs the module
 * @level: one of TW_LOG_*
 * @text: a literal, or an array of char on the stack or in a map, of which 1024
 *	bytes at most count, up to the NUL
 *
 * It is for what happens now and then: of more than 100 lines a second the others
 * are dropped, and counted in the log.
 */
long __task_watcher_log(const void *text, __u32 size, __u32 level);
#define task_watcher_log(level, text)                                                        \
	({                                                                                   \
		_Static_assert(!__builtin_types_compatible_p(typeof(text), typeof(&(text)[0])), \
			       "the text is a literal or an array, not a pointer");          \
		(void)__task_watcher_log(text, sizeof(text), level);                         \
	})

/* Facts of a task, under the names that also work in the sandbox. */

/* task_tid - the task's own id; at init, still the parent's */
static __always_inline int task_tid(struct task_struct *tsk) { return tsk->pid; }

/* task_pid - the id of its process (thread group); at init, still the parent's */
static __always_inline int task_pid(struct task_struct *tsk) { return tsk->tgid; }

/* task_ppid - the process id of its parent */
static __always_inline int task_ppid(struct task_struct *tsk) { return tsk->real_parent->tgid; }

static __always_inline __u32 task_uid(struct task_struct *tsk) { return tsk->cred->uid.val; }
static __always_inline __u32 task_euid(struct task_struct *tsk) { return tsk->cred->euid.val; }
static __always_inline __u32 task_gid(struct task_struct *tsk) { return tsk->cred->gid.val; }
static __always_inline __u32 task_egid(struct task_struct *tsk) { return tsk->cred->egid.val; }

/* task_start_ns - when it started, on CLOCK_BOOTTIME */
static __always_inline __u64 task_start_ns(struct task_struct *tsk) { return tsk->start_boottime; }

/* task_is_leader - whether it is the first thread of its process */
static __always_inline bool task_is_leader(struct task_struct *tsk) { return tsk->pid == tsk->tgid; }

/* task_comm - copy its name, at most 15 bytes and a NUL, to buf[16] */
static __always_inline void task_comm(struct task_struct *tsk, char *buf)
{
	bpf_probe_read_kernel_str(buf, sizeof(tsk->comm), &tsk->comm);
}

/* task_cpu_ns - the CPU time it used; exact on free, and up to one tick short
 * while it runs */
static __always_inline __u64 task_cpu_ns(struct task_struct *tsk) { return tsk->se.sum_exec_runtime; }

/* task_val - val in full, where unsigned long has 32 bits */
#define task_val(val, tsk) ((void)(tsk), (__u64)(val))

/*
 * kernel_read - read a field behind a pointer that the verifier does not know
 * the type of, such as one that was computed
 *
 *	struct dentry *parent = kernel_read(dentry->d_parent);
 *
 * The result is 0 where the memory cannot be read.
 */
#define kernel_read(field)                                                                   \
	({                                                                                   \
		typeof(((void)0, (field))) tw_value = (typeof(field))0; /* without const */    \
		bpf_probe_read_kernel((void *)&tw_value, sizeof(tw_value), (const void *)&(field)); \
		tw_value;                                                                    \
	})

/* kernel_offset - where a field is in a structure of the running kernel */
#define kernel_offset(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)

/* kernel_has - whether the running kernel's structure has the field */
#define kernel_has(type, field) __builtin_preserve_field_info(((type *)0)->field, 2)

/*
 * kernel_has_function - whether the running kernel has a function, which is
 * declared __ksym __weak
 *
 *	void bpf_rcu_read_lock(void) __ksym __weak;
 *
 *	if (kernel_has_function(bpf_rcu_read_lock))
 *		bpf_rcu_read_lock();
 *
 * Without __weak, a kernel that lacks the function does not load the module.
 */
#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
#define kernel_has_function(fn)                                                              \
	({                                                                                   \
		_Static_assert(!__builtin_constant_p(!!(fn)), "declare " #fn " as __ksym __weak"); \
		!!(fn);                                                                      \
	})

#include "task_watchers_bpf_facts.h"
#include "task_watchers_bpf_string.h"
#include "task_watchers_bpf_path.h"
#include "task_watchers_bpf_exec.h"
#include "task_watchers_bpf_storage.h"
#include "task_watchers_bpf_process.h"
#include "task_watchers_bpf_scratch.h"

#endif
