/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* rootgain: a record when a task that was not root becomes root. */
#include "task_watchers.h"

struct gain {
	__u32 pid, from, cause; /* TASK_CAUSE_* */
	char comm[16];
};

__u64 gains;
MODULE_GLOBAL(gains);

static int watch(unsigned long val, struct task_struct *tsk, const struct task_ids *ids)
{
	struct gain g = {.pid = task_pid(tsk), .from = ids->old[TASK_ID_EFFECTIVE], .cause = ids->cause};

	if (!g.from || ids->now[TASK_ID_EFFECTIVE])
		return 0;
	task_comm(tsk, g.comm);
	__sync_fetch_and_add(&gains, 1);
	task_watcher_emit_struct(&g);
	return 0;
}
task_ids_watcher_func(uid, watch);

MODULE_DESCRIPTION("tasks that become root");
MODULE_READS_ONLY();
MODULE_LICENSE("GPL");
