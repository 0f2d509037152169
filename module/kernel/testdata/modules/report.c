/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A built-in that keeps what it is told about errors and records. */
#include "task_watchers.h"

struct report {
	__u32 watcher, flags, event;
	int err, pid;
};

struct report reports[64];
__u32 count;

SEC(".task_watchers.report")
int report(unsigned long val, struct task_struct *tsk, __u64 who, int err, const void *detail)
{
	__u32 i = __sync_fetch_and_add(&count, 1);

	if (i < 64) {
		struct report *r = &reports[i];

		r->watcher = who;
		r->flags = who >> 32 & 0xff;
		r->event = who >> 40;
		r->err = err;
		r->pid = tsk->tgid;
	}
	return 0;
}

__u32 emitted_by, emitted_size;
__u64 emitted, emits;

SEC(".task_watchers.emit")
long emit(__u32 module, const void *data, __u32 size)
{
	emitted_by = module;
	emitted_size = size;
	__sync_fetch_and_add(&emits, 1);
	if (size == sizeof(emitted))
		emitted = *(const __u64 *)data;
	return 0;
}

__u64 execs;
__u32 old_tid;

SEC(".task_watchers.exec")
int __task_watcher_exec_builtin(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm, unsigned long tid)
{
	__sync_fetch_and_add(&execs, 1);
	old_tid = tid;
	return 0;
}

MODULE_LICENSE("GPL");
