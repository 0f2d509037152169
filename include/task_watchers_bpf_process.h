/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A value for each process, which is gone with its last thread. */
#ifndef TASK_WATCHERS_BPF_PROCESS_H
#define TASK_WATCHERS_BPF_PROCESS_H

/* PROCESS_STORAGE_ROOM - how many processes may have a value at a time; memory is taken
 * as they come. A module may define another number before it includes the header. */
#ifndef PROCESS_STORAGE_ROOM
#define PROCESS_STORAGE_ROOM 65536
#endif

/*
 * process_storage - have a value for each process, which all its threads share
 *
 *	process_storage(accounts, struct account);
 *
 * It has the functions of task_storage(), for any thread of the process, and works
 * in the sandbox, too. The value stays when the first thread ends before the others,
 * and when another thread runs a program. It is for clone and what comes later: at
 * init the process of the task may still be that of its creator. NAME_inherit(tsk), at
 * clone, gives a new process a copy of the value of its creator's process, and returns
 * for a new thread that of its own.
 *
 * The value is dropped when a thread is freed and all have ended: read it for the
 * last time at exit. Threads use it at the same time: count with
 * __sync_fetch_and_add(). It is a hash table by process id.
 */
#define process_storage(name, valuetype)                                                     \
	struct {                                                                             \
		__uint(type, BPF_MAP_TYPE_HASH);                                             \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                        \
		__uint(max_entries, PROCESS_STORAGE_ROOM);                                   \
		__type(key, __u32);                                                          \
		__type(value, valuetype);                                                    \
	} name SEC(".maps");                                                                 \
	/* Whose value it is: the last free comes when the id may be another process's. One  \
	 * that was set from outside is nobody's yet. */                                     \
	struct {                                                                             \
		__uint(type, BPF_MAP_TYPE_HASH);                                             \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                        \
		__uint(max_entries, PROCESS_STORAGE_ROOM);                                   \
		__type(key, __u32);                                                          \
		__type(value, __u64);                                                        \
	} name##_owner SEC(".maps");                                                         \
	static __always_inline __attribute__((unused)) valuetype *name##_get(struct task_struct *tsk) \
	{                                                                                    \
		__u64 tw_signal = (__u64)(unsigned long)tsk->signal, *tw_owner;              \
		__u32 tw_key = tsk->tgid;                                                    \
		valuetype *tw_value = bpf_map_lookup_elem(&name, &tw_key);                   \
                                                                                             \
		if (!tw_value)                                                               \
			return 0;                                                            \
		tw_owner = bpf_map_lookup_elem(&name##_owner, &tw_key);                      \
		if (!tw_owner) {                                                             \
			bpf_map_update_elem(&name##_owner, &tw_key, &tw_signal, BPF_NOEXIST); \
			return tw_value;                                                     \
		}                                                                            \
		return *tw_owner == tw_signal ? tw_value : 0;                                \
	}                                                                                    \
	static __always_inline __attribute__((unused)) valuetype *name##_create(struct task_struct *tsk) \
	{                                                                                    \
		static const valuetype tw_zero;                                              \
		struct task_struct *tw_current = bpf_get_current_task_btf();                 \
		__u64 tw_signal = (__u64)(unsigned long)tsk->signal, *tw_owner;              \
		__u32 tw_key = tsk->tgid;                                                    \
		valuetype *tw_value = name##_get(tsk);                                       \
		bool tw_stale;                                                               \
                                                                                             \
		if (tw_value)                                                                \
			return tw_value;                                                     \
		tw_owner = bpf_map_lookup_elem(&name##_owner, &tw_key);                      \
		tw_stale = tw_owner && *tw_owner != tw_signal;                               \
		if (tw_stale && tw_current->tgid == (int)tw_key && (__u64)(unsigned long)tw_current->signal == *tw_owner) \
			return 0; /* at init, with the creator's id still */                 \
		if (tsk->exit_state)                                                         \
			return 0; /* at free */                                              \
		bpf_map_update_elem(&name, &tw_key, &tw_zero, tw_stale ? BPF_ANY : BPF_NOEXIST); \
		tw_value = bpf_map_lookup_elem(&name, &tw_key);                              \
		if (tw_value)                                                                \
			bpf_map_update_elem(&name##_owner, &tw_key, &tw_signal, BPF_ANY);    \
		return tw_value;                                                             \
	}                                                                                    \
	static __always_inline __attribute__((unused)) valuetype *name##_inherit(struct task_struct *tsk) \
	{                                                                                    \
		struct task_struct *tw_creator = bpf_get_current_task_btf();                 \
		valuetype *tw_from = name##_get(tw_creator), *tw_to;                         \
                                                                                             \
		if (!tw_from || tw_creator->tgid == tsk->tgid)                               \
			return tw_from;                                                      \
		tw_to = name##_create(tsk);                                                  \
		if (tw_to)                                                                   \
			*tw_to = *tw_from;                                                   \
		return tw_to;                                                                \
	}                                                                                    \
	static __always_inline __attribute__((unused)) void name##_delete(struct task_struct *tsk) \
	{                                                                                    \
		__u64 tw_signal = (__u64)(unsigned long)tsk->signal, *tw_owner;              \
		__u32 tw_key = tsk->tgid;                                                    \
                                                                                             \
		tw_owner = bpf_map_lookup_elem(&name##_owner, &tw_key);                      \
		if (tw_owner && *tw_owner != tw_signal)                                      \
			return;                                                              \
		bpf_map_delete_elem(&name, &tw_key);                                         \
		bpf_map_delete_elem(&name##_owner, &tw_key);                                 \
	}                                                                                    \
	static int name##_freed(unsigned long tw_val, struct task_struct *tsk)               \
	{                                                                                    \
		__u32 tw_key = tsk->tgid;                                                    \
                                                                                             \
		if (!tsk->signal->nr_threads && bpf_map_lookup_elem(&name, &tw_key))         \
			name##_delete(tsk);                                                  \
		return 0;                                                                    \
	}                                                                                    \
	task_watcher_func(free, name##_freed)                                                \
	_Static_assert(sizeof(valuetype) > 0, "")

#endif
