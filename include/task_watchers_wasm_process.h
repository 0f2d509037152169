/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A value for each process, which is gone with its last thread. */
#ifndef TASK_WATCHERS_WASM_PROCESS_H
#define TASK_WATCHERS_WASM_PROCESS_H

#define TW_NO_PROCESS TASK_STORAGE_ROOM

/* tw_processes - which processes there are, and their threads */
struct tw_processes {
	struct tw_task_id threads[TASK_STORAGE_ROOM];
	struct tw_task_id of[TASK_STORAGE_ROOM]; /* their processes: generation, pid */
	struct tw_task_id pids[TASK_STORAGE_ROOM]; /* of processes, behind a 0 */
	struct {
		struct tw_task_id first; /* thread, or nobody */
		__u64 generation; /* of the id, which is used again */
		__u32 threads;
		bool has; /* a value */
	} now[TASK_STORAGE_ROOM];
	__u64 generation; /* the latest */
	__u32 threads_used, pids_used;
	struct tw_task_id freed, freed_of; /* the last thread, and its process */
};

/* tw_process_at - where a process is now */
static inline __u32 tw_process_at(const struct tw_processes *p, struct tw_task_id of)
{
	__u32 at = tw_find(p->pids, (struct tw_task_id){0, of.n});

	return p->pids[at].n && p->now[at].generation == of.run ? at : TW_NO_PROCESS;
}

/* tw_process_of - the place of a thread's process */
static inline __u32 tw_process_of(const struct tw_processes *p, struct tw_task_id thread)
{
	__u32 i = tw_find(p->threads, thread);

	return p->threads[i].run || p->threads[i].n ? tw_process_at(p, p->of[i]) : TW_NO_PROCESS;
}

/* tw_begin - have a process at a place, without threads and without a value */
static inline void tw_begin(struct tw_processes *p, __u32 at)
{
	p->now[at].first = (struct tw_task_id){0, 0};
	p->now[at].generation = ++p->generation;
	p->now[at].threads = 0;
	p->now[at].has = false;
}

/* tw_expect - the place of a process whose threads are to come */
static inline __u32 tw_expect(struct tw_processes *p, struct tw_task_id pid)
{
	__u32 at = tw_find(p->pids, pid);

	if (p->pids[at].n)
		return at;
	if (p->pids_used >= TASK_STORAGE_ROOM - TASK_STORAGE_ROOM / 8)
		return TW_NO_PROCESS;
	p->pids_used++;
	p->pids[at] = pid;
	tw_begin(p, at);
	return at;
}

/* tw_process - the place of the process of the event's task, which is counted as its
 * thread if it was not yet */
static inline __u32 tw_process(struct tw_processes *p, struct task_struct *tsk)
{
	struct tw_task_id id = tw_id(tsk), pid = {0, (__u32)tsk->pid};
	bool first = task_is_leader(tsk), known;
	__u32 i, at;

	if (tsk->event == WATCH_TASK_INIT)
		return tw_process_of(p, tw_creator(tsk));
	i = tw_find(p->threads, id);
	known = p->threads[i].run || p->threads[i].n;
	at = known ? tw_process_at(p, p->of[i]) : TW_NO_PROCESS;
	/* A source without init has it attached before its clone: then it may be in an
	 * earlier process of that id. */
	if (known && !(tsk->event == WATCH_TASK_CLONE && first && at != TW_NO_PROCESS && !tw_same_id(p->now[at].first, id)))
		return at;
	if (tsk->event == WATCH_TASK_FREE || tsk->event == WATCH_TASK_DETACH)
		return tw_same_id(p->freed, id) ? tw_process_at(p, p->freed_of) : TW_NO_PROCESS;
	if (!pid.n || (!known && p->threads_used >= TASK_STORAGE_ROOM - TASK_STORAGE_ROOM / 8))
		return TW_NO_PROCESS;
	at = tw_expect(p, pid);
	if (at == TW_NO_PROCESS)
		return TW_NO_PROCESS;
	if (tsk->event == WATCH_TASK_CLONE && first)
		tw_begin(p, at);
	if (first && tw_same_id(p->now[at].first, (struct tw_task_id){0, 0}))
		p->now[at].first = id;
	p->threads_used += !known;
	p->threads[i] = id;
	p->of[i] = (struct tw_task_id){p->now[at].generation, pid.n};
	p->now[at].threads++;
	return at;
}

/* tw_thread_gone - forget a thread, and return the place of its process if it was the
 * last one */
static inline __u32 tw_thread_gone(struct tw_processes *p, struct tw_task_id thread)
{
	__u32 i = tw_find(p->threads, thread), at, next;

	if (!p->threads[i].run && !p->threads[i].n)
		return TW_NO_PROCESS;
	p->freed = thread;
	p->freed_of = p->of[i];
	at = tw_process_at(p, p->of[i]);
	p->threads_used--;
	while ((next = tw_remove(p->threads, i)) != i) {
		p->of[i] = p->of[next];
		i = next;
	}
	return at != TW_NO_PROCESS && --p->now[at].threads ? TW_NO_PROCESS : at;
}

/*
 * process_storage - have a value for each process, which all its threads share
 *
 * As in the kernel, with room for the processes of TASK_STORAGE_ROOM tasks, whether
 * they have a value or not. NAME_create returns NULL where it is used up. The value is
 * dropped at the last thread's free, or detach where the source has no free. The module
 * follows all tasks for it: it watches attach, clone, free and detach. 'taskwatch map'
 * reads and sets values by the id of the process.
 */
#define process_storage(name, valuetype)                                                     \
	typedef valuetype tw_##name##_value;                                                 \
	static struct {                                                                      \
		struct tw_processes of;                                                      \
		tw_##name##_value values[TASK_STORAGE_ROOM];                                 \
	} name;                                                                              \
	static inline __attribute__((unused)) tw_##name##_value *name##_get(struct task_struct *tsk) \
	{                                                                                    \
		__u32 at = tw_process(&name.of, tsk);                                        \
                                                                                             \
		return at != TW_NO_PROCESS && name.of.now[at].has ? &name.values[at] : 0;    \
	}                                                                                    \
	static inline __attribute__((unused)) tw_##name##_value *name##_create(struct task_struct *tsk) \
	{                                                                                    \
		static const tw_##name##_value tw_none;                                      \
		__u32 at = tw_process(&name.of, tsk);                                        \
                                                                                             \
		if (at == TW_NO_PROCESS)                                                     \
			return 0;                                                            \
		if (!name.of.now[at].has)                                                    \
			name.values[at] = tw_none;                                           \
		name.of.now[at].has = true;                                                  \
		return &name.values[at];                                                     \
	}                                                                                    \
	static inline __attribute__((unused)) tw_##name##_value *name##_inherit(struct task_struct *tsk) \
	{                                                                                    \
		__u32 at = tw_process(&name.of, tsk), from = tw_process_of(&name.of, tw_creator(tsk)); \
		tw_##name##_value *tw_to;                                                    \
                                                                                             \
		if (from == TW_NO_PROCESS || !name.of.now[from].has)                         \
			return 0;                                                            \
		tw_to = name##_create(tsk);                                                  \
		if (tw_to && at != from)                                                     \
			*tw_to = name.values[from];                                          \
		return tw_to;                                                                \
	}                                                                                    \
	static inline __attribute__((unused)) void name##_delete(struct task_struct *tsk)    \
	{                                                                                    \
		__u32 at = tw_process(&name.of, tsk);                                        \
                                                                                             \
		if (at != TW_NO_PROCESS)                                                     \
			name.of.now[at].has = false;                                         \
	}                                                                                    \
	static int name##_seen(unsigned long tw_val, struct task_struct *tsk)                \
	{                                                                                    \
		tw_process(&name.of, tsk);                                                   \
		return 0;                                                                    \
	}                                                                                    \
	static int name##_freed(unsigned long tw_val, struct task_struct *tsk)               \
	{                                                                                    \
		__u32 at = tw_thread_gone(&name.of, tw_id(tsk)), next;                       \
                                                                                             \
		if (at == TW_NO_PROCESS)                                                     \
			return 0;                                                            \
		name.of.pids_used--;                                                         \
		while ((next = tw_remove(name.of.pids, at)) != at) {                         \
			name.of.now[at] = name.of.now[next];                                 \
			name.values[at] = name.values[next];                                 \
			at = next;                                                           \
		}                                                                            \
		return 0;                                                                    \
	}                                                                                    \
	static int name##_use(__u32 op, struct tw_task_id id)                                \
	{                                                                                    \
		static const tw_##name##_value tw_none;                                      \
		bool renew = op == TW_MAP_RENEW || op == TW_MAP_EXPECT;                      \
		__u32 at = op == TW_MAP_EXPECT ? tw_expect(&name.of, id) : tw_find(name.of.pids, id); \
                                                                                             \
		if (at == TW_NO_PROCESS)                                                     \
			return TW_MAP_E2BIG;                                                 \
		if (!name.of.pids[at].n || (!renew && !name.of.now[at].has))                 \
			return TW_MAP_ENOENT;                                                \
		name.of.now[at].has = op != TW_MAP_DELETE;                                   \
		if (op == TW_MAP_DELETE)                                                     \
			return 0;                                                            \
		if (renew)                                                                   \
			name.values[at] = tw_none;                                           \
		return (int)(unsigned long)&name.values[at];                                 \
	}                                                                                    \
	TW_MAP(name, TW_OF_PROCESSES, name##_use);                                           \
	task_watcher_func(attach, name##_seen)                                               \
	task_watcher_func(clone, name##_seen)                                                \
	task_watcher_func(free, name##_freed)                                                \
	task_watcher_func(detach, name##_freed)                                              \
	_Static_assert(sizeof(tw_##name##_value) > 0, "")

#endif
