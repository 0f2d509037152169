/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A module that sends a record and fails at every event. */
#include "task_watchers.h"

#define at(event)                                                              \
	static int on_##event(unsigned long val, struct task_struct *tsk)      \
	{                                                                      \
		task_watcher_emit(#event, sizeof(#event) - 1);                 \
		return -TW_EACCES;                                             \
	}                                                                      \
	task_watcher_func(event, on_##event)

at(init);
at(clone);
at(exec);
at(uid);
at(gid);
at(exit);
at(free);

MODULE_LICENSE("Dual BSD/GPL");
