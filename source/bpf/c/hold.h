/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What happens to a command when the process that watches it ends. */
#ifndef TASKWATCH_STREAM_HOLD_H
#define TASKWATCH_STREAM_HOLD_H

#include "control.h"
#include "scope.h"

/* Set before the load: the process that watches SCOPE_TREE. */
const volatile s32 own_pid;

/*
 * The end of the process that watches a command: nobody will be left to see
 * what the command does, so its tree ends too. Since Linux 6.13 a program can
 * signal another task, since 6.16 also here, where it has let go of its memory
 * before.
 */
SEC("tp_btf/sched_process_exit")
int on_own_exit(u64 *ctx)
{
	struct task_struct *own = (struct task_struct *)ctx[0];
	struct bpf_iter_task it;
	struct bpf_iter_num tries;
	struct task_struct *tsk;

	if (own->tgid != own_pid || GET(GET(own, struct task_struct, signal), struct signal_struct, live.counter) != 0)
		return 0;
	control.killing = 1;
	bpf_iter_task_new(&it, NULL, BPF_TASK_ITER_ALL_THREADS);
	while ((tsk = bpf_iter_task_next(&it))) {
		/* One that is not quite born is not in the tree yet. */
		if (!is_marked(tsk) && !is_marked(tsk->real_parent))
			continue;
		tsk = bpf_task_acquire(tsk);
		if (!tsk)
			continue;
		/* A CPU sends one signal at a time, in an interrupt. */
		bpf_iter_num_new(&tries, 0, 100000);
		while (bpf_iter_num_next(&tries)) {
			if (bpf_send_signal_task(tsk, SIGKILL, PIDTYPE_TGID, 0) != -EBUSY)
				break;
		}
		bpf_iter_num_destroy(&tries);
		bpf_task_release(tsk);
	}
	bpf_iter_task_destroy(&it);
	return 0;
}

#endif
