/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which signals of the process that watches a command are its own business. */
#ifndef TASKWATCH_STREAM_SIGNAL_H
#define TASKWATCH_STREAM_SIGNAL_H

#include "control.h"
#include "hold.h"
#include "scope.h"

#define SIGNALS 65

#define SENDERS 32 /* whose pids end in different numbers, and who send at the same time */

/* A process that sends a signal. */
struct sender {
	u32 pid;
	s32 ahead; /* how often the command has had it more than own_pid, or -1: own_pid was first */
	u64 at; /* when one of the two had it last */
};

/* Of a signal, by its number. */
struct signals {
	struct sender from[SENDERS];
	u32 had; /* how often it came to own_pid, and the command has it as well or the tree has sent it */
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

/* How long one signal to both may take to come from one of them to the other. */
#define TO_A_GROUP 20000000ull
#define TO_EACH 40000000ull /* less than the reader waits for it */

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
 * own_pid, which has made it. One to all processes (kill(-1)), or to each by a
 * call of its own (systemd, pkill), comes to own_pid first. Several processes may
 * do so at the same time, so each has its own count.
 */
SEC("tp_btf/signal_generate")
int on_signal(u64 *ctx)
{
	u32 sig = (u32)ctx[0];
	struct task_struct *to = (struct task_struct *)ctx[2];
	int result = (int)ctx[4];
	u32 by = bpf_get_current_pid_tgid() >> 32;
	u64 now = bpf_ktime_get_ns();
	struct sender *from;
	struct signals *s;
	int own = to->tgid == own_pid, by_task, had;

	/* What own_pid sends, it passes on, perhaps while another is on its way to both. */
	if (own ? by == (u32)own_pid : (u32)to->tgid != control.command || by == (u32)own_pid)
		return 0;
	s = bpf_map_lookup_elem(&signals, &sig);
	if (!s)
		return 0;
	from = &s->from[by % SENDERS];
	if (from->pid != by || now - from->at > (from->ahead < 0 ? TO_EACH : TO_A_GROUP)) {
		from->pid = by;
		from->ahead = 0;
	}
	if (!own) {
		if (from->ahead < 0)
			__sync_fetch_and_add(&s->had, 1); /* what waits to be passed on, the command has now */
		from->ahead++;
		from->at = now;
		return 0;
	}
	by_task = sent_by_task((void *)ctx[1]);
	had = from->ahead > 0;
	if (had)
		from->ahead--;
	else
		had = by_task && is_marked(bpf_get_current_task_btf());
	if (result == SIGNAL_DELIVERED || result == SIGNAL_WITHOUT_INFO) {
		if (had)
			__sync_fetch_and_add(&s->had, 1);
		s->counted = had;
	} else if (result == SIGNAL_PENDING && !had && s->counted) {
		__sync_fetch_and_add(&s->had, -1); /* the one that waits stands for both */
		s->counted = 0;
	} else {
		return 0;
	}
	if (!had && by_task && control.command) {
		from->ahead = -1; /* the reader waits before it passes this on */
		from->at = now;
	}
	return 0;
}

#endif
