/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * cnproc: the messages of the kernel's process events connector
 * (drivers/connector/cn_proc.c) for fork, exec, uid, gid and exit, as records: a
 * struct cn_msg and a struct proc_event each. The daemon writes them to a socket.
 */
#include "task_watchers.h"

#define CN_IDX_PROC 1
#define CN_VAL_PROC 1

#define PROC_EVENT_FORK 0x00000001
#define PROC_EVENT_EXEC 0x00000002
#define PROC_EVENT_UID 0x00000004
#define PROC_EVENT_GID 0x00000040
#define PROC_EVENT_EXIT 0x80000000

#define SIGCHLD 17
#define SIG_IGN 1
#define SA_NOCLDWAIT 2

/* The kernel's layout: a cn_msg of 20 bytes, and a proc_event of 40 behind it. */
struct message {
	__u32 idx, val, seq, ack;
	__u16 len, flags;
	__u32 what, cpu;
	__u64 timestamp_ns;
	__u32 data[6];
} __attribute__((packed, aligned(4)));

_Static_assert(sizeof(struct message) == 60, "");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sigaction___cnproc {
	void *sa_handler;
	unsigned long sa_flags;
};
struct k_sigaction___cnproc {
	struct sigaction___cnproc sa;
};
struct sighand_struct___cnproc {
	struct k_sigaction___cnproc action[64];
};
struct task_struct___cnproc {
	unsigned int ptrace;
	struct task_struct___cnproc *parent;
	struct sighand_struct___cnproc *sighand;
};
#pragma clang attribute pop

/* Messages by processor, those that found no room included: a reader sees a gap. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sent SEC(".maps");

/*
 * Not 0 while nobody listens: then no message is made, and none is counted, as in the
 * connector. The daemon sets it where it serves the messages.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} silent SEC(".maps");

__u64 dropped; /* messages that the stream had no room for */

static __always_inline bool is_silent(void)
{
	__u32 zero = 0;
	__u32 *s = bpf_map_lookup_elem(&silent, &zero);

	return s && *s;
}

static __always_inline void begin(struct message *m, __u32 what)
{
	__u32 zero = 0;
	__u32 *n = bpf_map_lookup_elem(&sent, &zero);

	m->idx = CN_IDX_PROC;
	m->val = CN_VAL_PROC;
	m->seq = n ? __sync_fetch_and_add(n, 1) : 0;
	m->len = 40;
	m->what = what;
	m->cpu = bpf_get_smp_processor_id();
	m->timestamp_ns = bpf_ktime_get_ns();
}

static __always_inline void send(struct message *m)
{
	if (task_watcher_emit(m, sizeof(*m)))
		__sync_fetch_and_add(&dropped, 1);
}

static int forked(unsigned long flags, struct task_struct *tsk)
{
	struct message m = {};

	if (is_silent())
		return 0;
	begin(&m, PROC_EVENT_FORK);
	m.data[0] = tsk->real_parent->pid;
	m.data[1] = tsk->real_parent->tgid;
	m.data[2] = tsk->pid;
	m.data[3] = tsk->tgid;
	send(&m);
	return 0;
}
task_watcher_func(clone, forked);

static int executed(unsigned long zero, struct task_struct *tsk)
{
	struct message m = {};

	if (is_silent())
		return 0;
	begin(&m, PROC_EVENT_EXEC);
	m.data[0] = tsk->pid;
	m.data[1] = tsk->tgid;
	send(&m);
	return 0;
}
task_watcher_func(exec, executed);

static __always_inline int changed(__u32 what, struct task_struct *tsk, const struct task_ids *ids)
{
	struct message m = {};

	if (is_silent())
		return 0;
	/* The connector has no message where none of the four is another. */
	if (ids->old[0] == ids->now[0] && ids->old[1] == ids->now[1] && ids->old[2] == ids->now[2] && ids->old[3] == ids->now[3])
		return 0;
	begin(&m, what);
	m.data[0] = tsk->pid;
	m.data[1] = tsk->tgid;
	m.data[2] = ids->now[TASK_ID_REAL];
	m.data[3] = ids->now[TASK_ID_EFFECTIVE];
	send(&m);
	return 0;
}

static int uid_changed(unsigned long zero, struct task_struct *tsk, const struct task_ids *ids)
{
	return changed(PROC_EVENT_UID, tsk, ids);
}
task_ids_watcher_func(uid, uid_changed);

static int gid_changed(unsigned long zero, struct task_struct *tsk, const struct task_ids *ids)
{
	return changed(PROC_EVENT_GID, tsk, ids);
}
task_ids_watcher_func(gid, gid_changed);

/*
 * Whether nobody waits for the task: then it is gone when the connector looks for
 * its parent, and the message has none (exit_notify() in kernel/exit.c).
 */
static __always_inline bool unwaited(struct task_struct *tsk)
{
	struct task_struct___cnproc *t = (void *)tsk;
	struct k_sigaction___cnproc *on_end;

	if (t->ptrace)
		return false;
	if (!task_is_leader(tsk))
		return true;
	if (tsk->exit_signal != SIGCHLD || tsk->signal->nr_threads > 1)
		return false;
	on_end = &t->parent->sighand->action[SIGCHLD - 1];
	return on_end->sa.sa_handler == (void *)SIG_IGN || on_end->sa.sa_flags & SA_NOCLDWAIT;
}

static int exited(unsigned long code, struct task_struct *tsk)
{
	struct message m = {};

	if (is_silent())
		return 0;
	begin(&m, PROC_EVENT_EXIT);
	m.data[0] = tsk->pid;
	m.data[1] = tsk->tgid;
	m.data[2] = code;
	m.data[3] = tsk->exit_signal;
	if (!unwaited(tsk)) {
		m.data[4] = tsk->real_parent->pid;
		m.data[5] = tsk->real_parent->tgid;
	}
	send(&m);
	return 0;
}
task_watcher_func(exit, exited);

MODULE_LICENSE("Dual BSD/GPL");
MODULE_DESCRIPTION("the messages of the process events connector");
