/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * task_watchers.h: the API for taskwatch modules.
 *
 *	#include "task_watchers.h"
 *
 *	__u64 execs;
 *
 *	static int count_exec(unsigned long val, struct task_struct *tsk)
 *	{
 *		__sync_fetch_and_add(&execs, 1);
 *		return 0;
 *	}
 *	task_watcher_func(exec, count_exec);
 *	MODULE_LICENSE("GPL");
 *
 * The header is self-contained: it includes no system headers. The same source
 * can be compiled for the kernel (clang --target=bpf) and for the sandbox
 * (clang --target=wasm32) as long as it uses only the task_*() functions to
 * read a task.
 *
 * Events, their val, and what a negative result (an errno) does:
 *
 *	init	clone flags	the new task has no pid yet	veto
 *	clone	clone flags	before the child runs
 *	exec	0						veto
 *	uid	0						veto
 *	gid	0						veto
 *	exit	exit code as the kernel keeps it
 *	free	exit code, or 0 after a fork that failed
 *
 * More entries are no events:
 *
 *	attach	0	once for each task that exists when the module is loaded
 *	detach	0	once for each task that exists when it is unloaded
 *	execed	0	after an exec that has succeeded, also with MODULE_VETO(exec)
 *	step	number	while an exec is decided: at 0 about the program, at 1 about the
 *			interpreter if it is a script, at 2 about that of the interpreter,
 *			and so on; for the kernel only
 *
 * The clone flags are without the exit signal, which the kernel keeps apart.
 *
 * A module asks for a veto with MODULE_VETO(ev). All watchers of an event are
 * called, whatever the others return. The system call fails with the first
 * error that denies.
 *
 * A module with MODULE_VETO(exec) has its exec watchers called when the kernel
 * decides, before the old program is gone: the exec may still fail for another
 * reason. Watchers of other modules are called after it has succeeded. The same
 * is true of uid and gid. Every watcher is called once per event.
 */
#ifndef TASK_WATCHERS_H
#define TASK_WATCHERS_H

/* The version of this interface; objects carry it and the loader checks it. */
#define TASK_WATCHERS_API 1

#if !defined(__VMLINUX_H__) && !defined(_ASM_GENERIC_INT_LL64_H)
typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
#endif
#ifndef __VMLINUX_H__
typedef _Bool bool;
enum { false = 0, true = 1 };
#endif
#ifndef NULL
#define NULL ((void *)0)
#endif

#define WATCH_TASK_INIT 0
#define WATCH_TASK_CLONE 1
#define WATCH_TASK_EXEC 2
#define WATCH_TASK_UID 3
#define WATCH_TASK_GID 4
#define WATCH_TASK_EXIT 5
#define WATCH_TASK_FREE 6
#define NUM_WATCH_TASK_EVENTS 7

/* Entries of the table that are no events. */
#define WATCH_TASK_ATTACH 7
#define WATCH_TASK_DETACH 8
#define WATCH_TASK_EXECED 9
#define WATCH_TASK_STEP 10

/* What changed an id. */
#define TASK_CAUSE_UNKNOWN 0
#define TASK_CAUSE_SYSCALL 1 /* one of the set*id system calls */
#define TASK_CAUSE_EXEC 2    /* exec, for one of a setuid file */
#define TASK_CAUSE_SETGROUPS 3 /* on gid: setgroups; the four ids are what they were */

/* Places in the arrays of struct task_ids. */
#define TASK_ID_REAL 0
#define TASK_ID_EFFECTIVE 1
#define TASK_ID_SAVED 2
#define TASK_ID_FS 3

/* The user ids (on uid) or group ids (on gid) before and after a change. */
struct task_ids {
	__u32 old[4];
	__u32 now[4];
	__u32 cause;
	__u32 reserved;
};

enum {
	tw_event_init = WATCH_TASK_INIT,
	tw_event_clone = WATCH_TASK_CLONE,
	tw_event_exec = WATCH_TASK_EXEC,
	tw_event_uid = WATCH_TASK_UID,
	tw_event_gid = WATCH_TASK_GID,
	tw_event_exit = WATCH_TASK_EXIT,
	tw_event_free = WATCH_TASK_FREE,
	tw_event_attach = WATCH_TASK_ATTACH,
	tw_event_detach = WATCH_TASK_DETACH,
	tw_event_execed = WATCH_TASK_EXECED,
	tw_event_step = WATCH_TASK_STEP,
};

enum {
	tw_power_signal,      /* bpf_send_signal() and its like */
	tw_power_user_memory, /* bpf_probe_write_user() */
	tw_power_result,      /* functions that change what the kernel itself does */
};

/* The errors that watchers return most. */
#define TW_EPERM 1
#define TW_ENOENT 2
#define TW_EAGAIN 11
#define TW_ENOMEM 12
#define TW_EACCES 13
#define TW_EFAULT 14

/* The levels of task_watcher_log(). */
#define TW_LOG_DEBUG 0
#define TW_LOG_INFO 1
#define TW_LOG_WARN 2
#define TW_LOG_ERROR 3

#define TW_JOIN_(a, b) a##b
#define TW_JOIN(a, b) TW_JOIN_(a, b)
#define TW_STRING_(x) #x
#define TW_STRING(x) TW_STRING_(x)

/* TW_IS - whether fn has the type, or the other one */
#define TW_IS(fn, type, other)                                                               \
	(__builtin_types_compatible_p(__typeof__(&fn), type) || __builtin_types_compatible_p(__typeof__(&fn), other))

#define TW_CHECK_WATCHER(fn)                                                                 \
	_Static_assert(TW_IS(fn, int (*)(unsigned long, struct task_struct *),               \
			     int (*)(unsigned long, const struct task_struct *)),            \
		       "a watcher is a function int " #fn "(unsigned long val, struct task_struct *tsk)")
#define TW_CHECK_IDS_WATCHER(fn)                                                             \
	_Static_assert(TW_IS(fn, int (*)(unsigned long, struct task_struct *, const struct task_ids *), \
			     int (*)(unsigned long, const struct task_struct *, const struct task_ids *)), \
		       "a watcher with ids is a function int " #fn "(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)")

/* What a parameter, or a value of a list, may be. */
#define TW_CHECK_NUMBER(type)                                                                \
	_Static_assert(_Generic((type)0, bool: 1, char: 1, signed char: 1, unsigned char: 1, short: 1, unsigned short: 1, \
				int: 1, unsigned int: 1, long: 1, unsigned long: 1, long long: 1, unsigned long long: 1, default: 0), \
		       "a parameter is an integer or a bool; for text there is module_param_string")
#define TW_CHECK_LIST(type)                                                                  \
	TW_CHECK_NUMBER(type);                                                               \
	_Static_assert(!__builtin_types_compatible_p(type, char),                            \
		       "a list of char is a text, for which there is module_param_string; numbers of one byte are __s8 or __u8")
#define TW_CHECK_TEXT(size, value)                                                           \
	_Static_assert(sizeof(value) <= (size), "the text has more bytes than the parameter, with one for its end")

#if defined(__bpf__)
#include "task_watchers_bpf.h"
#elif defined(__wasm__)
#include "task_watchers_wasm.h"
#else
#error "task_watchers.h: compile for --target=bpf (the kernel) or --target=wasm32 (the sandbox)"
#endif

/* The names of the series' last draft (14 December 2006). */
#define DEFINE_TASK_INITCALL(fn) task_watcher_func(init, fn)
#define DEFINE_TASK_CLONECALL(fn) task_watcher_func(clone, fn)
#define DEFINE_TASK_EXECCALL(fn) task_watcher_func(exec, fn)
#define DEFINE_TASK_UIDCALL(fn) task_watcher_func(uid, fn)
#define DEFINE_TASK_GIDCALL(fn) task_watcher_func(gid, fn)
#define DEFINE_TASK_EXITCALL(fn) task_watcher_func(exit, fn)
#define DEFINE_TASK_FREECALL(fn) task_watcher_func(free, fn)

#define MODULE_AUTHOR(author) TW_MODINFO("author", author)
#define MODULE_DESCRIPTION(text) TW_MODINFO("description", text)
#define MODULE_VERSION(version) TW_MODINFO("version", version)

/*
 * MODULE_VETO - a negative result of this module's watchers on ev denies the
 * operation
 * @ev: init, exec, uid or gid
 *
 * Without it, their errors are counted and reported, and deny nothing. If the
 * kernel cannot deny, a module with MODULE_VETO is not loaded unless the user
 * accepts that.
 */
#define MODULE_VETO(ev)                                                                      \
	_Static_assert(TW_JOIN(tw_event_, ev) == WATCH_TASK_INIT ||                          \
		       TW_JOIN(tw_event_, ev) == WATCH_TASK_EXEC ||                          \
		       TW_JOIN(tw_event_, ev) == WATCH_TASK_UID ||                           \
		       TW_JOIN(tw_event_, ev) == WATCH_TASK_GID, "only init, exec, uid and gid can be denied"); \
	TW_MODINFO("veto", #ev)

/*
 * MODULE_POWER - the module does more than watch and deny
 * @power: signal, user_memory or result
 *
 * A module that acts on tasks is not loaded unless it declares the power, which
 * is shown wherever the module is described. In the sandbox no module can act.
 */
#define MODULE_POWER(power)                                                                  \
	_Static_assert(TW_JOIN(tw_power_, power) >= tw_power_signal, "");                    \
	TW_MODINFO("power", #power)
#define MODULE_PARM_DESC(name, text) TW_MODINFO("parm", #name ":" text)

#endif
