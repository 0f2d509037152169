/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Facts of a task that not every kernel has, or that are some pointers away. */
#ifndef TASK_WATCHERS_BPF_FACTS_H
#define TASK_WATCHERS_BPF_FACTS_H

/* Fields that depend on the kernel's configuration: a vmlinux.h may lack them. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct___audit {
	kuid_t loginuid;
	unsigned int sessionid;
};

struct tty_driver___tty {
	int major;
};

struct tty_struct___tty {
	struct tty_driver___tty *driver;
	char name[64];
};

struct signal_struct___tty {
	struct tty_struct___tty *tty;
};
#pragma clang attribute pop

/* task_auid - the user who logged in, or 4294967295 */
static __always_inline __u32 task_auid(struct task_struct *tsk)
{
	struct task_struct___audit *audit = (void *)tsk;

	return kernel_has(struct task_struct___audit, loginuid) ? kernel_read(audit->loginuid.val) : ~0u;
}

/* task_sessionid - the login session, or 4294967295 */
static __always_inline __u32 task_sessionid(struct task_struct *tsk)
{
	struct task_struct___audit *audit = (void *)tsk;

	return kernel_has(struct task_struct___audit, sessionid) ? kernel_read(audit->sessionid) : ~0u;
}

/* task_cgroup_id - the inode of the directory of its cgroup (cgroup v2) */
static __always_inline __u64 task_cgroup_id(struct task_struct *tsk)
{
	return kernel_read(kernel_read(kernel_read(kernel_read(tsk->cgroups)->dfl_cgrp)->kn)->id);
}

/* task_sid - the process id of the leader of its session; at free, 0 */
static __always_inline int task_sid(struct task_struct *tsk)
{
	struct pid *sid = kernel_read(kernel_read(tsk->signal)->pids[3]);

	return kernel_read(sid->numbers[0].nr);
}

#define TW_PTS_MAJOR 136 /* the first of 8 */

/*
 * task_tty - copy the name of its controlling terminal, such as pts/0, to
 * buf[size]
 * @size: a constant, at least 8
 *
 * Returns the length, 0 without a terminal, or a negative errno. A result that
 * is not less than size says that the name was cut.
 */
static __always_inline int task_tty(struct task_struct *tsk, char *buf, __u32 size)
{
	struct signal_struct___tty *signal = (void *)kernel_read(tsk->signal);
	struct tty_struct___tty *tty;
	__u32 major, pts = 0;
	int n;

	buf[0] = 0;
	if (!kernel_has(struct signal_struct___tty, tty))
		return 0;
	tty = kernel_read(signal->tty);
	if (!tty)
		return 0;
	major = kernel_read(kernel_read(tty->driver)->major);
	if (major - TW_PTS_MAJOR < 8) {
		/* The kernel calls it pts0. */
		__builtin_memcpy(buf, "pts/", 4);
		n = bpf_probe_read_kernel_str(buf + 4, size - 4, (void *)tty->name + 3);
		pts = 4;
	} else {
		n = bpf_probe_read_kernel_str(buf, size, tty->name);
	}
	return n < 0 ? n : n + (int)pts - 1;
}

#endif
