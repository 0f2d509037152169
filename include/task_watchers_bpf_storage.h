/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A value for each task, which is gone with the task. */
#ifndef TASK_WATCHERS_BPF_STORAGE_H
#define TASK_WATCHERS_BPF_STORAGE_H

/*
 * task_storage - have a value for each task
 *
 *	struct account {
 *		__u64 execs;
 *	};
 *	task_storage(accounts, struct account);
 *
 *	struct account *a = accounts_create(tsk);
 *
 *	if (a)
 *		a->execs++;
 *
 * NAME_get(tsk) returns the task's value, or NULL if it has none.
 * NAME_create(tsk) makes one of zeros if it has none.
 * NAME_inherit(tsk), at init, gives the new task a copy of its creator's, if
 * that has one, and returns it, or NULL.
 * NAME_delete(tsk) drops it.
 *
 * The value is dropped after the last watcher of free, which may read it still.
 * All may return NULL for lack of memory; NAME_get, too, where the kernel is
 * interrupted while it looks for a value on the same processor. Threads have
 * values of their own.
 */
#define task_storage(name, valuetype)                                                        \
	struct {                                                                             \
		__uint(type, BPF_MAP_TYPE_TASK_STORAGE);                                     \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                        \
		__type(key, int);                                                            \
		__type(value, valuetype);                                                    \
	} name SEC(".maps");                                                                 \
	static inline __attribute__((unused)) valuetype *name##_get(struct task_struct *tsk) \
	{                                                                                    \
		return bpf_task_storage_get(&name, tsk, 0, 0);                               \
	}                                                                                    \
	static inline __attribute__((unused)) valuetype *name##_create(struct task_struct *tsk) \
	{                                                                                    \
		return bpf_task_storage_get(&name, tsk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);  \
	}                                                                                    \
	static inline __attribute__((unused)) valuetype *name##_inherit(struct task_struct *tsk) \
	{                                                                                    \
		valuetype *tw_from = name##_get(bpf_get_current_task_btf()), *tw_to;         \
                                                                                             \
		if (!tw_from)                                                                \
			return 0;                                                            \
		tw_to = name##_create(tsk);                                                  \
		if (tw_to)                                                                   \
			*tw_to = *tw_from;                                                   \
		return tw_to;                                                                \
	}                                                                                    \
	static inline __attribute__((unused)) void name##_delete(struct task_struct *tsk)    \
	{                                                                                    \
		bpf_task_storage_delete(&name, tsk);                                         \
	}                                                                                    \
	_Static_assert(sizeof(valuetype) > 0, "")

/*
 * task_table - the same, for less time at each fork
 * @room: for how many tasks; memory is taken as they come
 *
 *	task_table(accounts, struct account, 131072);
 *
 * It is a hash table by the task's address. NAME_inherit(tsk) is for clone, and not
 * for init. The module drops the value at exit, by NAME_delete(tsk); of a task that
 * has ended (exit_state is not 0) NAME_create(tsk) would make one that stays. A task
 * without a value may have that of an earlier one at its address, whose exit the
 * kernel has skipped, unless NAME_inherit(tsk) is called at clone, which drops that.
 */
#define task_table(name, valuetype, room)                                                    \
	struct {                                                                             \
		__uint(type, BPF_MAP_TYPE_HASH);                                             \
		__uint(map_flags, BPF_F_NO_PREALLOC);                                        \
		__uint(max_entries, room);                                                   \
		__type(key, __u64);                                                          \
		__type(value, valuetype);                                                    \
	} name SEC(".maps");                                                                 \
	static __always_inline __attribute__((unused)) valuetype *name##_get(struct task_struct *tsk) \
	{                                                                                    \
		__u64 tw_key = (__u64)(unsigned long)tsk;                                    \
                                                                                             \
		return bpf_map_lookup_elem(&name, &tw_key);                                  \
	}                                                                                    \
	static __always_inline __attribute__((unused)) valuetype *name##_create(struct task_struct *tsk) \
	{                                                                                    \
		static const valuetype tw_zero;                                              \
		__u64 tw_key = (__u64)(unsigned long)tsk;                                    \
		valuetype *tw_value = bpf_map_lookup_elem(&name, &tw_key);                   \
                                                                                             \
		if (tw_value)                                                                \
			return tw_value;                                                     \
		bpf_map_update_elem(&name, &tw_key, &tw_zero, BPF_NOEXIST);                  \
		return bpf_map_lookup_elem(&name, &tw_key);                                  \
	}                                                                                    \
	static __always_inline __attribute__((unused)) void name##_delete(struct task_struct *tsk) \
	{                                                                                    \
		__u64 tw_key = (__u64)(unsigned long)tsk;                                    \
                                                                                             \
		bpf_map_delete_elem(&name, &tw_key);                                         \
	}                                                                                    \
	/* Returns whether it has one now. */                                                \
	static __always_inline __attribute__((unused)) bool name##_inherit(struct task_struct *tsk) \
	{                                                                                    \
		valuetype *tw_from = name##_get(bpf_get_current_task_btf());                 \
		__u64 tw_key = (__u64)(unsigned long)tsk;                                    \
                                                                                             \
		if (tw_from)                                                                 \
			return !bpf_map_update_elem(&name, &tw_key, tw_from, BPF_ANY);       \
		if (bpf_map_lookup_elem(&name, &tw_key))                                     \
			bpf_map_delete_elem(&name, &tw_key);                                 \
		return false;                                                                \
	}                                                                                    \
	_Static_assert((room) > 0, "")

#endif
