/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the benchmark has the kernel, or the sandbox, do on every event: count
 * it, by the load that caused it. The names of the loads' programs begin with
 * a tag of four letters, so that no two benchmarks take each other's loads for
 * theirs; the fifth tells which load it is.
 */
#include "task_watchers.h"

#define LOADS 5

module_param_string(tag, 8, "");
MODULE_PARM_DESC(tag, "what the names of the loads begin with");

__u64 seen[LOADS * NUM_WATCH_TASK_EVENTS];
MODULE_GLOBAL(seen);

static __always_inline int count(int event, struct task_struct *tsk)
{
	int load;

	if (tsk->comm[0] != tag[0] || tsk->comm[1] != tag[1] || tsk->comm[2] != tag[2] || tsk->comm[3] != tag[3])
		return 0;
	switch (tsk->comm[4]) {
	case 'f': load = 0; break;
	case 'e': load = 1; break;
	case 't': load = 2; break;
	case 'i': load = 3; break;
	case 'r': load = 4; break;
	default: return 0;
	}
	__sync_fetch_and_add(&seen[load * NUM_WATCH_TASK_EVENTS + event], 1);
	return 0;
}

#define watch(ev, num)                                                 \
	static int on_##ev(unsigned long val, struct task_struct *tsk) \
	{                                                              \
		return count(num, tsk);                                \
	}                                                              \
	task_watcher_func(ev, on_##ev)

watch(init, WATCH_TASK_INIT);
watch(clone, WATCH_TASK_CLONE);
watch(exec, WATCH_TASK_EXEC);
watch(uid, WATCH_TASK_UID);
watch(gid, WATCH_TASK_GID);
watch(exit, WATCH_TASK_EXIT);
watch(free, WATCH_TASK_FREE);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("counts the events of the benchmark's loads");
