/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lifecheck, and a source with a fault: for children of a process it calls the
 * watchers of an event that has not happened.
 */
#include "../../../../modules/lifecheck/lifecheck.c"

module_param(parent, int, 0);
module_param(at, __u32, 0);    /* the event at which the fault comes */
module_param(again, __u32, 0); /* and the one that comes, besides or once more */

static __always_inline int fault(struct task_struct *tsk, __u32 event)
{
	int ppid = event == WATCH_TASK_INIT ? bpf_get_current_pid_tgid() >> 32 : task_ppid(tsk);

	if (event != at || ppid != parent)
		return 0;
	if (again == WATCH_TASK_INIT)
		begin(tsk);
	else
		advance(tsk, again);
	return 0;
}

#define FAULT(ev, event)                                                                     \
	static int fault_at_##ev(unsigned long val, struct task_struct *tsk)                 \
	{                                                                                    \
		return fault(tsk, event);                                                    \
	}                                                                                    \
	task_watcher_func(ev, fault_at_##ev)

FAULT(init, WATCH_TASK_INIT)
FAULT(clone, WATCH_TASK_CLONE)
FAULT(exec, WATCH_TASK_EXEC)
FAULT(exit, WATCH_TASK_EXIT)
FAULT(free, WATCH_TASK_FREE)
