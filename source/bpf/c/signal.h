/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which signals of the process that watches a command are its own business. */
#ifndef TASKWATCH_STREAM_SIGNAL_H
#define TASKWATCH_STREAM_SIGNAL_H

#include "control.h"
#include "hold.h"
#include "scope.h"

#define SIGNALS 65

/* Of a signal, by its number. */
struct signals {
	u64 by; /* the task that has sent it to the command last */
	u64 at; /* and when */
	u32 had; /* how often it came to own_pid, and the command has had it or the tree has sent it */
	u32 counted; /* whether the last one that came is in had */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SIGNALS);
	__type(key, u32);
	__type(value, struct signals);
} signals SEC(".maps");

/* What the kernel says of a signal that it has sent (TRACE_SIGNAL_*). */
enum { SIGNAL_DELIVERED = 0, SIGNAL_PENDING = 2, SIGNAL_WITHOUT_INFO = 4 };

/* How long a signal to a group may take to come from one of it to another. */
#define ONE_SIGNAL 20000000ull

/*
 * Whether a task has sent the signal, and not the kernel, which may do so while
 * any task runs. Two numbers stand for what is not written out (SEND_SIG_NOINFO
 * and SEND_SIG_PRIV).
 */
static __always_inline int sent_by_task(void *info)
{
	s32 code;

	if ((u64)info <= 1)
		return info == NULL;
	return !bpf_probe_read_kernel(&code, sizeof(code), info + 8 /* si_code */) && code <= 0;
}

/*
 * A signal to a process group goes to its members one after the other, in one
 * system call, and first to those that came last: to the command before
 * own_pid, which has made it.
 */
SEC("tp_btf/signal_generate")
int on_signal(u64 *ctx)
{
	u32 sig = (u32)ctx[0];
	struct task_struct *to = (struct task_struct *)ctx[2];
	int result = (int)ctx[4];
	u64 by = bpf_get_current_pid_tgid();
	struct signals *s;
	int had;

	if ((u32)to->tgid != control.command && to->tgid != own_pid)
		return 0;
	s = bpf_map_lookup_elem(&signals, &sig);
	if (!s)
		return 0;
	if (to->tgid != own_pid) {
		if ((u32)(by >> 32) == (u32)own_pid)
			return 0; /* it was passed on, perhaps while another is on its way to both */
		s->by = by;
		s->at = bpf_ktime_get_ns();
		return 0;
	}
	had = (sent_by_task((void *)ctx[1]) && is_marked(bpf_get_current_task_btf())) ||
	      (s->by == by && bpf_ktime_get_ns() - s->at < ONE_SIGNAL);
	if (result == SIGNAL_DELIVERED || result == SIGNAL_WITHOUT_INFO) {
		if (had)
			__sync_fetch_and_add(&s->had, 1);
		s->counted = had;
	} else if (result == SIGNAL_PENDING && !had && s->counted) {
		__sync_fetch_and_add(&s->had, -1); /* the one that waits stands for both */
		s->counted = 0;
	}
	s->by = 0;
	return 0;
}

#endif
