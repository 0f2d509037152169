/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A value for each task, which is gone with the task. */
#ifndef TASK_WATCHERS_WASM_STORAGE_H
#define TASK_WATCHERS_WASM_STORAGE_H

/* TASK_STORAGE_ROOM - how many tasks may have a value at a time: a power of 2.
 * A module may define another number before it includes the header. */
#ifndef TASK_STORAGE_ROOM
#define TASK_STORAGE_ROOM 16384
#endif
_Static_assert(TASK_STORAGE_ROOM > 1 && !(TASK_STORAGE_ROOM & (TASK_STORAGE_ROOM - 1)), "TASK_STORAGE_ROOM is a power of 2");

struct tw_task_id {
	__u64 run, n; /* both 0: nobody */
};

static inline struct tw_task_id tw_id(struct task_struct *tsk) { return (struct tw_task_id){tsk->run, tsk->n}; }

static inline struct tw_task_id tw_creator(struct task_struct *tsk) { return (struct tw_task_id){tsk->parent_run, tsk->parent_n}; }

static inline bool tw_same_id(struct tw_task_id a, struct tw_task_id b) { return a.run == b.run && a.n == b.n; }

/* tw_home - where an id is looked for first */
static inline __u32 tw_home(struct tw_task_id id)
{
	return (__u32)((id.n ^ id.run * 0x9e3779b97f4a7c15ull) * 0x9e3779b97f4a7c15ull >> 32) & (TASK_STORAGE_ROOM - 1);
}

/* tw_find - the place of an id, or the free one where it belongs */
static inline __u32 tw_find(const struct tw_task_id *ids, struct tw_task_id id)
{
	__u32 i = tw_home(id);

	while (!tw_same_id(ids[i], id) && (ids[i].run || ids[i].n))
		i = (i + 1) & (TASK_STORAGE_ROOM - 1);
	return i;
}

/* tw_remove - free a place, and return the one whose value belongs there now,
 * or the place itself */
static inline __u32 tw_remove(struct tw_task_id *ids, __u32 hole)
{
	__u32 i = hole;

	for (;;) {
		i = (i + 1) & (TASK_STORAGE_ROOM - 1);
		if (!ids[i].run && !ids[i].n)
			break;
		/* What is at home between the hole and here stays. */
		if (((i - tw_home(ids[i])) & (TASK_STORAGE_ROOM - 1)) >= ((i - hole) & (TASK_STORAGE_ROOM - 1))) {
			ids[hole] = ids[i];
			return i;
		}
	}
	ids[hole] = (struct tw_task_id){0, 0};
	return hole;
}

/* What the host is told of values that it may read and set: see 'taskwatch map'. */
struct tw_map {
	const char *name;
	__u32 name_len;
	__u32 kind; /* TW_OF_* */
	__u32 value_size;
	__u32 room;
	const char *type; /* taskwatch module build says it elsewhere */
	__u32 type_len;
	int (*use)(__u32 op, struct tw_task_id id);
};

#define TW_OF_TASKS 1
#define TW_OF_PROCESSES 2 /* id.n is that of the process */

#define TW_MAP_FIND 0 /* returns the address of the value */
#define TW_MAP_RENEW 1 /* makes one of zeros, and returns its address */
#define TW_MAP_DELETE 2 /* returns 0 */
#define TW_MAP_EXPECT 3 /* TW_MAP_RENEW, also for a process of which no thread is known yet */

#define TW_MAP_ENOENT (-2) /* there is no such value, or process */
#define TW_MAP_E2BIG (-7) /* there is no room */

extern const struct tw_map __start_tw_maps[] __attribute__((weak)), __stop_tw_maps[] __attribute__((weak));

TW_EXPORT("__task_watchers_maps") __u64 __task_watchers_maps(void)
{
	return tw_place(__start_tw_maps, __stop_tw_maps - __start_tw_maps);
}

TW_EXPORT("__task_watchers_map") int __task_watchers_map(__u32 map, __u32 op, __u64 run, __u64 n)
{
	return __start_tw_maps[map].use(op, (struct tw_task_id){run, n});
}

#define TW_MAP(map, its_kind, fn)                                                            \
	static const struct tw_map __tw_map_##map TW_TABLE("tw_maps") = {                    \
		.name = #map, .name_len = sizeof(#map) - 1, .kind = its_kind,                \
		.value_size = sizeof(map.values[0]),                                         \
		.room = TASK_STORAGE_ROOM - TASK_STORAGE_ROOM / 8, .use = fn,                \
	}

/*
 * task_storage - have a value for each task
 *
 * As in the kernel, with room for TASK_STORAGE_ROOM tasks: NAME_create returns
 * NULL where it is used up. The value is dropped after the watchers of free, or
 * of detach where the source has no free. If the module misses both, because
 * events come faster than it works, the value stays. 'taskwatch map' reads and sets
 * values by tid.
 */
#define task_storage(name, valuetype)                                                        \
	typedef valuetype tw_##name##_value;                                                 \
	static struct {                                                                      \
		struct tw_task_id ids[TASK_STORAGE_ROOM], freed;                             \
		__u32 used;                                                                  \
		tw_##name##_value values[TASK_STORAGE_ROOM];                                 \
	} name;                                                                              \
	static tw_##name##_value *name##_of(struct tw_task_id id)                            \
	{                                                                                    \
		__u32 i = tw_find(name.ids, id);                                             \
                                                                                             \
		return name.ids[i].run || name.ids[i].n ? &name.values[i] : 0;               \
	}                                                                                    \
	static void name##_drop(struct tw_task_id id)                                        \
	{                                                                                    \
		__u32 i = tw_find(name.ids, id), next;                                       \
                                                                                             \
		if (!name.ids[i].run && !name.ids[i].n)                                      \
			return;                                                              \
		name.used--;                                                                 \
		while ((next = tw_remove(name.ids, i)) != i) {                               \
			name.values[i] = name.values[next];                                  \
			i = next;                                                            \
		}                                                                            \
	}                                                                                    \
	/* Watchers that come later read the value of what has gone: it is dropped at the next event. */ \
	static void name##_settle(struct task_struct *tsk)                                   \
	{                                                                                    \
		if (!(name.freed.run || name.freed.n) || tsk->event == WATCH_TASK_FREE || tsk->event == WATCH_TASK_DETACH) \
			return;                                                              \
		name##_drop(name.freed);                                                     \
		name.freed = (struct tw_task_id){0, 0};                                      \
	}                                                                                    \
	static inline __attribute__((unused)) tw_##name##_value *name##_get(struct task_struct *tsk) \
	{                                                                                    \
		name##_settle(tsk);                                                          \
		return name##_of(tw_id(tsk));                                                \
	}                                                                                    \
	static tw_##name##_value *name##_make(struct tw_task_id id)                          \
	{                                                                                    \
		static const tw_##name##_value tw_none;                                      \
		__u32 i = tw_find(name.ids, id);                                             \
                                                                                             \
		if (name.ids[i].run || name.ids[i].n)                                        \
			return &name.values[i];                                              \
		if (name.used >= TASK_STORAGE_ROOM - TASK_STORAGE_ROOM / 8)                  \
			return 0;                                                            \
		name.used++;                                                                 \
		name.ids[i] = id;                                                            \
		name.values[i] = tw_none;                                                    \
		return &name.values[i];                                                      \
	}                                                                                    \
	static inline __attribute__((unused)) tw_##name##_value *name##_create(struct task_struct *tsk) \
	{                                                                                    \
		name##_settle(tsk);                                                          \
		return name##_make(tw_id(tsk));                                              \
	}                                                                                    \
	static inline __attribute__((unused)) tw_##name##_value *name##_inherit(struct task_struct *tsk) \
	{                                                                                    \
		tw_##name##_value *tw_to, tw_copy, *tw_from;                                 \
                                                                                             \
		name##_settle(tsk);                                                          \
		tw_from = name##_of(tw_creator(tsk));                                        \
		if (!tw_from)                                                                \
			return 0;                                                            \
		tw_copy = *tw_from;                                                          \
		tw_to = name##_create(tsk);                                                  \
		if (tw_to)                                                                   \
			*tw_to = tw_copy;                                                    \
		return tw_to;                                                                \
	}                                                                                    \
	static inline __attribute__((unused)) void name##_delete(struct task_struct *tsk)    \
	{                                                                                    \
		name##_drop(tw_id(tsk));                                                     \
	}                                                                                    \
	static int name##_freed(unsigned long tw_val, struct task_struct *tsk)               \
	{                                                                                    \
		name##_drop(name.freed);                                                     \
		name.freed = tw_id(tsk);                                                     \
		return 0;                                                                    \
	}                                                                                    \
	task_watcher_func(free, name##_freed)                                                \
	task_watcher_func(detach, name##_freed)                                              \
	static int name##_use(__u32 op, struct tw_task_id id)                                \
	{                                                                                    \
		static const tw_##name##_value tw_none;                                      \
		tw_##name##_value *tw_value = name##_of(id);                                 \
                                                                                             \
		if (op == TW_MAP_RENEW || op == TW_MAP_EXPECT) {                             \
			tw_value = name##_make(id);                                          \
			if (!tw_value)                                                       \
				return TW_MAP_E2BIG;                                         \
			*tw_value = tw_none;                                                 \
		}                                                                            \
		if (!tw_value)                                                               \
			return TW_MAP_ENOENT;                                                \
		if (op != TW_MAP_DELETE)                                                     \
			return (int)(unsigned long)tw_value;                                 \
		name##_drop(id);                                                             \
		return 0;                                                                    \
	}                                                                                    \
	TW_MAP(name, TW_OF_TASKS, name##_use);                                               \
	_Static_assert(sizeof(tw_##name##_value) > 0, "")

#endif
