/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The records in the ring buffer. decode.go reads them; a test compares every
 * offset with this file's BTF. All numbers are in the machine's byte order.
 */
#ifndef TASKWATCH_STREAM_RECORD_H
#define TASKWATCH_STREAM_RECORD_H

#include "constants.h"

struct tw_rec {
	u16 kind, flags;
	u32 pid, tid, ppid;
	u32 lost;    /* records of watched kinds that found no room, so far */
	u32 dropped; /* records of any kind that found no room, so far */
	u64 time;    /* CLOCK_MONOTONIC */
	u64 task;    /* the task_struct's address */
	u64 start;   /* CLOCK_BOOTTIME */
	u64 val;     /* of an exec, the CPU time before it: see time_before */
	/* A TW_FREE ends here. */
	u64 creator; /* init, clone: address of the task that called fork; exec, exit, task: how many execs led to its program */
	u64 cgroup;  /* struct place: the id, and above it the hierarchy */
	u32 uid[4], gid[4]; /* real, effective, saved, fs */
	char comm[16];
	u64 dir; /* its working directory, as a TW_CWD before has told, or 0; of an exec, the peak memory of the process before it: pages */
};

struct tw_exit {
	struct tw_rec rec;
	u64 utime, stime, runtime; /* ns; runtime is exact, the other two are sampled where the kernel samples them */
	u64 maxrss;                /* pages */
	u64 minflt, majflt, nvcsw, nivcsw;
	u64 read_bytes, write_bytes;
};

struct tw_ids {
	struct tw_rec rec;
	u32 old[4];
	u32 cause; /* TASK_CAUSE_*; if 0, old is not known either */
	u32 reserved;
};

/* The optional fields of the task of the record that follows. */
struct tw_extra {
	struct tw_rec rec;
	u32 has; /* TW_HAS_*: which of the parts could be read */
	u32 auid, sessionid;
	u32 ns_mnt, ns_pid, ns_net, ns_user;
	u32 vpid;
	u64 effective, permitted, inheritable, bounding, ambient;
	u64 exe_ino;
	u32 exe_dev, tty; /* the kernel's encoding: 12 bits of major, 20 of minor; tty is 0 where there is none */
	u32 secure;
	u32 ngroups;
	u32 groups[TW_GROUPS];
	s32 nice;
	u32 label_form;
	u64 gained;
	u64 label[2]; /* as modules/label/label.c has it; a form of 0 is none */
	u32 sid;
	u32 reserved;
};

/*
 * A TW_CWD, a TW_PROGRAM and a TW_ABOUT are a struct tw_data, whose rec has no more
 * than a TW_FREE has. The first has cwd, and rec.dir; the second the path outside of
 * its own root as exe, and the environment as argv; the third exe, cwd and the
 * beginning of argv, as far as its flags do not say otherwise.
 */

/*
 * A record with data behind it: first exe, then cwd, then argv, as far as its
 * kind has them. Paths are written from the leaf to the root, each name ended
 * by a NUL: "true\0bin\0usr\0".
 */
struct tw_data {
	struct tw_rec rec;
	u32 exe_len; /* of a TW_CGROUP: the length of its path */
	u32 cwd_len;
	u32 argv_len; /* of a TW_EMIT: the length of the record */
	u32 argv_off; /* how much of argv was sent before, in TW_ARGV records; of a TW_EMIT: the number of its type, or 0; of a TW_FAILED: the descriptor */
};

/*
 * A TW_REPORT is a struct tw_data. rec.val is the watcher's id and flags,
 * rec.creator the event's val, argv_off the error number. An exec has exe, cwd
 * and argv; a change of ids has its struct task_ids as argv, an init the address of
 * the task that called fork.
 */

#endif
