/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the modules of the registry suite have in common: they count their
 * calls, send a record of each, and fail where they are told to.
 */
#include "task_watchers.h"

module_param(pid, __u32, 0);
MODULE_PARM_DESC(pid, "record what this process and its children do, and nothing else; 0 is everybody");
module_param(quiet, bool, 0);
MODULE_PARM_DESC(quiet, "send no records");
module_param(fail_kinds, __u32, 0);
MODULE_PARM_DESC(fail_kinds, "the events to fail on, a bit each");
module_param(fail_at, __u32, 0);
MODULE_PARM_DESC(fail_at, "which watcher of the event fails, from 0");
module_param(errno, int, 0);
MODULE_PARM_DESC(errno, "the error it returns");
#ifdef __wasm__
module_param(crash, bool, 0);
MODULE_PARM_DESC(crash, "crash instead of returning an error");
#else
#define crash 0 /* the verifier sees to that */
#endif

__u64 ran;			   /* calls of any watcher for any event */
MODULE_GLOBAL(ran);
__u64 own[NUM_WATCH_TASK_EVENTS]; /* calls of the first watcher of each event */
MODULE_GLOBAL(own);

struct call {
	__u32 event;
	__u32 watcher;
	__u64 val;
};

static __attribute__((noinline)) int called(__u32 event, __u32 watcher, unsigned long val, struct task_struct *tsk)
{
	struct call c = { event, watcher, task_val(val, tsk) };

	__sync_fetch_and_add(&ran, 1);
	if (event >= NUM_WATCH_TASK_EVENTS || (pid && task_pid(tsk) != pid && task_ppid(tsk) != pid))
		return 0;
	if (!watcher)
		__sync_fetch_and_add(&own[event], 1);
	if (!quiet)
		task_watcher_emit(&c, sizeof(c));
	if (!(fail_kinds >> event & 1) || fail_at != watcher)
		return 0;
	if (crash)
		__builtin_trap();
	return -errno;
}

#define WATCHER(ev, n)                                                       \
	static int ev##n(unsigned long val, struct task_struct *tsk)         \
	{                                                                    \
		return called(TW_JOIN(tw_event_, ev), n, val, tsk);          \
	}                                                                    \
	task_watcher_func(ev, ev##n)

MODULE_LICENSE("Dual BSD/GPL");
