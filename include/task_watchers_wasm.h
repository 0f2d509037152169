/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of task_watchers.h for modules that run in the sandbox.
 *
 * A module is one C file. Its watchers are called one at a time, each with a
 * deadline; what it must not do is stopped and costs it its memory. It has no
 * C library: memcpy() and memset() of clang are there, as instructions.
 */
#ifndef TASK_WATCHERS_WASM_H
#define TASK_WATCHERS_WASM_H

#include "task_watchers_record.h"

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif

#define TW_IMPORT(name) __attribute__((import_module("taskwatch"), import_name(name)))
#define TW_EXPORT(name) __attribute__((export_name(name), visibility("default"), used))
#define TW_TABLE(section_name) __attribute__((section(section_name), used))

/* The version of what host and module agree upon. */
#define TASK_WATCHERS_ABI 1

TW_IMPORT("task_field") int __tw_task_field(__u32 field, __u32 index, char *buf, __u32 size);
TW_IMPORT("log") void __tw_log(__u32 level, const char *text, __u32 size);
TW_IMPORT("emit") int __tw_emit(const void *data, __u32 size);
TW_IMPORT("emit_struct") int __tw_emit_struct(const void *data, __u32 size, __u32 type);

/* What the module says of itself: see MODULE_LICENSE() and module_param(). */
struct tw_var {
	const char *name;
	__u32 name_len;
	const char *desc;
	__u32 desc_len;
	__u32 type;
	__u32 flags;
	const volatile void *address;
	__u32 count;
};

extern const char __start_tw_modinfo[], __stop_tw_modinfo[];
extern const struct tw_var __start_tw_vars[] __attribute__((weak)), __stop_tw_vars[] __attribute__((weak));

TW_EXPORT("__task_watchers_abi") int __task_watchers_abi(void) { return TASK_WATCHERS_ABI; }

static __always_inline __u64 tw_place(const void *address, __u32 n) { return (__u64)(__u32)address << 32 | n; }

TW_EXPORT("__task_watchers_info") __u64 __task_watchers_info(void)
{
	return tw_place(__start_tw_modinfo, __stop_tw_modinfo - __start_tw_modinfo);
}

TW_EXPORT("__task_watchers_vars") __u64 __task_watchers_vars(void)
{
	return tw_place(__start_tw_vars, __stop_tw_vars - __start_tw_vars);
}

TW_EXPORT("__task_watchers_task") struct task_struct *__task_watchers_task(__u32 size)
{
	static struct task_struct tw_task;

	return size == sizeof(tw_task) ? &tw_task : 0;
}

/*
 * task_watcher_func - call fn on every event ev
 * @ev: init, clone, exec, uid, gid, exit or free; attach, detach or execed
 * @fn: int fn(unsigned long val, struct task_struct *tsk)
 *
 * Watchers of one event are called in the order in which they stand in the
 * source. An unsigned long has 32 bits here: see task_val().
 */
#define task_watcher_func(ev, fn)                                                            \
	TW_EXPORT("__task_watcher_" #ev "_" #fn)                                             \
	int __task_watcher_##ev##_##fn(__u64 tw_val, struct task_struct *tw_tsk)             \
	{                                                                                    \
		_Static_assert(TW_JOIN(tw_event_, ev) <= WATCH_TASK_EXECED, #ev " is for modules in the kernel"); \
		TW_CHECK_WATCHER(fn);                                                        \
		return fn((unsigned long)tw_val, tw_tsk);                                    \
	}

/*
 * task_ids_watcher_func - like task_watcher_func(), with the ids
 * @ev: uid or gid
 * @fn: int fn(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)
 */
#define task_ids_watcher_func(ev, fn)                                                        \
	TW_EXPORT("__task_watcher_" #ev "_" #fn)                                             \
	int __task_watcher_##ev##_##fn(__u64 tw_val, struct task_struct *tw_tsk)             \
	{                                                                                    \
		_Static_assert(TW_JOIN(tw_event_, ev) == WATCH_TASK_UID ||                   \
			       TW_JOIN(tw_event_, ev) == WATCH_TASK_GID, "only uid and gid have ids"); \
		TW_CHECK_IDS_WATCHER(fn);                                                    \
		const __u32 *tw_now = TW_JOIN(tw_event_, ev) == WATCH_TASK_UID ? tw_tsk->uid : tw_tsk->gid; \
		struct task_ids tw_ids = { .cause = tw_tsk->cause };                         \
		for (int tw_i = 0; tw_i < 4; tw_i++) {                                       \
			tw_ids.old[tw_i] = tw_tsk->old[tw_i];                                \
			tw_ids.now[tw_i] = tw_now[tw_i];                                     \
		}                                                                            \
		return fn((unsigned long)tw_val, tw_tsk, &tw_ids);                           \
	}

/*
 * task_exec_watcher_func - like task_watcher_func(exec, fn), with the program
 * @fn: int fn(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)
 *
 * Here bprm is NULL, and only for task_exec_path() and its like.
 */
struct linux_binprm;

#define task_exec_watcher_func(fn) TW_EXEC_WATCHER(exec, fn)

/*
 * task_execed_watcher_func - like task_exec_watcher_func(fn), after every exec
 * that has succeeded
 *
 * With MODULE_VETO(exec), watchers of exec are called while it is decided, and
 * the exec can still fail. What depends on its success is done here.
 */
#define task_execed_watcher_func(fn) TW_EXEC_WATCHER(execed, fn)

#define TW_EXEC_WATCHER(ev, fn)                                                              \
	TW_EXPORT("__task_watcher_" #ev "_" #fn)                                             \
	int __task_watcher_##ev##_##fn(__u64 tw_val, struct task_struct *tw_tsk)             \
	{                                                                                    \
		_Static_assert(TW_IS(fn, int (*)(unsigned long, struct task_struct *, struct linux_binprm *), \
				     int (*)(unsigned long, const struct task_struct *, const struct linux_binprm *)), \
			       "a watcher with the program is a function int " #fn "(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm)"); \
		return fn((unsigned long)tw_val, tw_tsk, 0);                                 \
	}

#define TW_MODINFO(tag, info)                                                                \
	static const char TW_JOIN(__tw_modinfo_, __COUNTER__)[] TW_TABLE("tw_modinfo") = tag "=" info

TW_MODINFO("task_watchers", TW_STRING(TASK_WATCHERS_API));

/*
 * MODULE_READS - have a field gathered for this module
 * @field: its name, with "_" in place of a dot: caps_effective. Of the default
 *	fields: exe, argv, cwd, cgroup, old_exe, rusage_utime_ns and so on, and
 *	rusage for all of these
 *
 * The functions below that read one say so themselves; what is read in another
 * way, such as tsk->nice, or by its number, is not there unless it is named so.
 */
#define MODULE_READS(field)                                                                  \
	_Static_assert(TW_JOIN(tw_field_, field) > 0, "");                                   \
	TW_MODINFO(TW_JOIN(TW_READS_, field), #field)

/*
 * MODULE_READS_ONLY - have only those default fields gathered that this module names
 *
 * Without it, all of them are gathered. With it, those that MODULE_READS() takes are
 * missing unless it, or a function below, names them. Other default fields cost
 * nothing, and are always there.
 */
#define MODULE_READS_ONLY() TW_MODINFO("default", "only")

/* MODULE_LICENSE - as in the kernel, where it must be one of a few; the
 * sandbox links nothing, and takes any or none. */
#define MODULE_LICENSE(license) TW_MODINFO("license", license)

/* The type of a variable, as the host numbers them: 10 is text, and one char a
 * number. For an array, the type of its elements follows from the pointer that its
 * name turns into. */
#define TW_TYPE(x)                                                                           \
	_Generic((x),                                                                        \
		 unsigned char: 1, unsigned short: 2, unsigned int: 3, unsigned long: 3, unsigned long long: 4, \
		 signed char: 5, short: 6, int: 7, long: 7, long long: 8, bool: 9, char: 5, \
		 volatile unsigned char *: 1, volatile unsigned short *: 2, volatile unsigned int *: 3, \
		 volatile unsigned long *: 3, volatile unsigned long long *: 4, volatile signed char *: 5, \
		 volatile short *: 6, volatile int *: 7, volatile long *: 7, volatile long long *: 8, \
		 volatile bool *: 9, volatile char *: 10,                                    \
		 const volatile unsigned char *: 1, const volatile unsigned short *: 2,      \
		 const volatile unsigned int *: 3, const volatile unsigned long *: 3,        \
		 const volatile unsigned long long *: 4, const volatile signed char *: 5,    \
		 const volatile short *: 6, const volatile int *: 7, const volatile long *: 7, \
		 const volatile long long *: 8, const volatile bool *: 9, const volatile char *: 10, \
		 unsigned char *: 1, unsigned short *: 2, unsigned int *: 3, unsigned long *: 3, \
		 unsigned long long *: 4, signed char *: 5, short *: 6, int *: 7, long *: 7, \
		 long long *: 8, bool *: 9, char *: 10)

#define TW_TYPE_SIZE(type)                                                                   \
	((type) == 4 || (type) == 8 ? 8u : (type) == 3 || (type) == 7 ? 4u : (type) == 2 || (type) == 6 ? 2u : 1u)

#define TW_VAR(var, is_param)                                                                \
	static const struct tw_var __tw_var_##var TW_TABLE("tw_vars") = {                    \
		.name = #var, .name_len = sizeof(#var) - 1, .type = TW_TYPE(var), .flags = is_param, \
		.address = &var, .count = sizeof(var) / TW_TYPE_SIZE(TW_TYPE(var)),          \
	}

/*
 * module_param - a value that the user may set when the module is loaded
 *
 * As in the kernel. It does not change afterwards.
 */
#define module_param(name, type, value)                                                      \
	TW_CHECK_NUMBER(type);                                                               \
	const volatile type name = value;                                                    \
	TW_VAR(name, 1)
#define module_param_string(name, size, value)                                               \
	TW_CHECK_TEXT(size, value);                                                          \
	const volatile char name[size] = value;                                              \
	TW_VAR(name, 1)

/*
 * module_param_array - a list that the user may set, as name=1:2:3
 * @room: how many values it may have, at least 2
 *
 * name##_count says how many it has; the rest is 0.
 */
#define module_param_array(name, type, room)                                                 \
	TW_CHECK_LIST(type);                                                                 \
	const volatile type name[room];                                                      \
	const volatile __u32 name##_count;                                                   \
	_Static_assert((room) > 1, "a list has room for two at least");                      \
	TW_VAR(name, 1);                                                                     \
	TW_VAR(name##_count, 1)

/*
 * MODULE_GLOBAL - have a global variable be read from outside
 *
 *	__u64 execs;
 *	MODULE_GLOBAL(execs);
 *
 * For integers, bool, char arrays (strings) and arrays of them. The kernel
 * tells of all variables, and ignores this.
 */
#define MODULE_GLOBAL(name) TW_VAR(name, 0)

/*
 * task_watcher_emit - send a record of the module's own
 * @data: JSON text, or any bytes
 * @size: at most 65536; the kernel takes 4096
 *
 * Returns 0, or a negative errno: what may be sent is limited. The record
 * arrives tagged with the module's name.
 */
#define task_watcher_emit(data, size) ((long)__tw_emit(data, size))

/* task_watcher_emit_struct - the same with a struct, which arrives as JSON: its type is
 * what 'taskwatch module build' finds by the number; without it the bytes arrive */
#define task_watcher_emit_struct(v) TW_EMIT_STRUCT(v, __COUNTER__)
#define TW_EMIT_STRUCT(v, number)                                                            \
	({                                                                                   \
		_Static_assert(__builtin_classify_type(*(v)) >= 12, /* a struct or a union */ \
			       "task_watcher_emit_struct() takes a pointer to a struct; use task_watcher_emit()"); \
		static __attribute__((used)) __typeof__(*(v)) *TW_JOIN(__tw_emitted_, number); \
		(long)__tw_emit_struct(v, sizeof(*(v)), number);                             \
	})

/* tw_length - where a text ends. There is no strlen(), which clang would make of a
 * loop that it sees through. */
static inline __attribute__((unused)) __u32 tw_length(const char *text)
{
	__u32 n = 0;

	while (text[n]) {
		n++;
		__asm__ volatile("" : "+r"(n));
	}
	return n;
}

/* task_watcher_log - say something to who runs the module
 * @level: one of TW_LOG_*
 * @text: ends with a NUL */
#define task_watcher_log(level, text) __tw_log(level, text, tw_length(text))

/* Facts of a task, under the names that also work in the kernel. A fact that
 * the source could not give is 0: see task_missing(). */

/* task_tid - the task's own id; at init it has none yet, and this is 0 */
static __always_inline int task_tid(struct task_struct *tsk) { return tsk->tid; }

/* task_pid - the id of its process (thread group); at init, 0 */
static __always_inline int task_pid(struct task_struct *tsk) { return tsk->pid; }

/* task_ppid - the process id of its parent */
static __always_inline int task_ppid(struct task_struct *tsk) { return tsk->ppid; }

static __always_inline __u32 task_uid(struct task_struct *tsk) { return tsk->uid[TASK_ID_REAL]; }
static __always_inline __u32 task_euid(struct task_struct *tsk) { return tsk->uid[TASK_ID_EFFECTIVE]; }
static __always_inline __u32 task_gid(struct task_struct *tsk) { return tsk->gid[TASK_ID_REAL]; }
static __always_inline __u32 task_egid(struct task_struct *tsk) { return tsk->gid[TASK_ID_EFFECTIVE]; }

/* task_start_ns - when it started, on CLOCK_BOOTTIME */
static __always_inline __u64 task_start_ns(struct task_struct *tsk) { return tsk->start_ns; }

/* task_is_leader - whether it is the first thread of its process */
static __always_inline bool task_is_leader(struct task_struct *tsk) { return tsk->pid == tsk->tid; }

/* task_comm - copy its name, at most 15 bytes and a NUL, to buf[16] */
static __always_inline void task_comm(struct task_struct *tsk, char *buf)
{
	__builtin_memcpy(buf, tsk->comm, sizeof(tsk->comm));
}

/* task_cpu_ns - the CPU time it used: on exit only, else 0 */
static __always_inline __u64 task_cpu_ns(struct task_struct *tsk)
{
	MODULE_READS(rusage_utime_ns);
	MODULE_READS(rusage_stime_ns);
	return tsk->utime_ns + tsk->stime_ns;
}

/* task_val - val in full: clone flags may have more than 32 bits */
#define task_val(val, tsk) ((tsk)->val)

/* What follows is optional, and gathered for a module that uses the function: see
 * MODULE_READS() and task_missing(). */

/* task_auid - the user who logged in, or 4294967295 */
static __always_inline __u32 task_auid(struct task_struct *tsk)
{
	MODULE_READS(auid);
	return tsk->given & TASK_FIELD_AUID ? tsk->auid : ~0u;
}

/* task_sessionid - the login session, or 4294967295 */
static __always_inline __u32 task_sessionid(struct task_struct *tsk)
{
	MODULE_READS(sessionid);
	return tsk->given & TASK_FIELD_SESSIONID ? tsk->sessionid : ~0u;
}

/* task_cgroup_id - the inode of the directory of its cgroup (cgroup v2) */
static __always_inline __u64 task_cgroup_id(struct task_struct *tsk)
{
	MODULE_READS(cgroup_id);
	return tsk->cgroup_id;
}

/* task_sid - the process id of the leader of its session, or 0 */
static __always_inline int task_sid(struct task_struct *tsk)
{
	MODULE_READS(sid);
	return tsk->sid;
}

/* Facts that only the sandbox has. */

/* task_missing - whether any of the TASK_FIELD_* is not there: the source could
 * not give it; nobody asked for it, if it is optional; or this module did not, with
 * MODULE_READS_ONLY() */
static __always_inline bool task_missing(struct task_struct *tsk, __u64 fields)
{
	return tsk->missing & fields || fields & TASK_FIELDS_OPTIONAL & ~tsk->given;
}

/*
 * task_exe, task_cwd, task_cgroup, task_old_exe - copy a path to buf[size]
 * task_argv - copy the argument with that index, of tsk->argc
 *
 * The copy ends with a NUL. They return the full length, which is more than was
 * copied if it is not less than size, or a negative errno: -TW_ENOENT if the
 * source could not give it.
 */
static inline int tw_string(__u32 field, __u32 index, char *buf, __u32 size)
{
	int n;

	if (!size)
		return __tw_task_field(field, index, buf, 0);
	n = __tw_task_field(field, index, buf, size - 1);
	buf[n < 0 ? 0 : (__u32)n < size ? (__u32)n : size - 1] = 0;
	return n;
}

#define TW_STRING_READER(name, number)                                                       \
	static inline int task_##name(const struct task_struct *tsk, char *buf, __u32 size)  \
	{                                                                                    \
		MODULE_READS(name);                                                          \
		return tw_string(number, 0, buf, size);                                      \
	}
TW_STRING_READER(exe, TASK_STRING_EXE)
TW_STRING_READER(cwd, TASK_STRING_CWD)
TW_STRING_READER(cgroup, TASK_STRING_CGROUP)
TW_STRING_READER(old_exe, TASK_STRING_OLD_EXE)

static inline int task_argv(const struct task_struct *tsk, __u32 index, char *buf, __u32 size)
{
	MODULE_READS(argv);
	return tw_string(TASK_STRING_ARGV, index, buf, size);
}

/* task_tty - the same of its controlling terminal, such as pts/0; 0 without one */
static inline int task_tty(struct task_struct *tsk, char *buf, __u32 size)
{
	MODULE_READS(tty);
	return tw_string(TASK_STRING_TTY, 0, buf, size);
}

/*
 * task_parent_exe - the same of the program of its parent
 *
 * It is known of parents that the source follows: not of the command that
 * 'taskwatch run' starts. In the sandbox, TASK_FIELD_* has no bit for it.
 */
static inline int task_parent_exe(struct task_struct *tsk, char *buf, __u32 size)
{
	MODULE_READS(parent_exe);
	return tw_string(TASK_STRING_PARENT_EXE, 0, buf, size);
}

/*
 * What an exec is about, as in the kernel. Of a script, decided about, it is the
 * script; once it runs, the source has the interpreter with its arguments.
 */
#define task_exec_path(tsk, bprm, buf, size) ((void)(bprm), task_exe(tsk, buf, size))
static inline int task_exec_argc(const struct task_struct *tsk, const struct linux_binprm *bprm)
{
	MODULE_READS(argv);
	return tsk->argc;
}
#define task_exec_arg(tsk, bprm, i, buf, size) ((void)(bprm), task_argv(tsk, i, buf, size))

/*
 * task_string_is - whether the string in buf[size] is s, which is a parameter
 * (module_param_string) or a literal
 */
static inline bool task_string_is(const char *buf, __u32 size, const volatile char *s)
{
	for (__u32 i = 0; i < size; i++) {
		if (buf[i] != s[i])
			return false;
		if (!s[i])
			break;
	}
	return true;
}

/* task_string_begins - whether the string in buf[size] begins with s; with an
 * empty one each does */
static inline bool task_string_begins(const char *buf, __u32 size, const volatile char *s)
{
	__u32 n = 0;

	while (n < size && s[n] && buf[n] == s[n])
		n++;
	return n < size && !s[n];
}

#include "task_watchers_wasm_storage.h"
#include "task_watchers_wasm_process.h"
#include "task_watchers_wasm_scratch.h"

#endif
