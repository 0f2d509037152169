/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The records in the ring buffer. decode.go reads them; a test compares every
 * offset with this file's BTF. All numbers are in the machine's byte order.
 */
#ifndef TASKWATCH_STREAM_RECORD_H
#define TASKWATCH_STREAM_RECORD_H

/* The first seven kinds are those of taskwatch.Kind. */
enum tw_kind {
	TW_INIT,
	TW_CLONE,
	TW_EXEC,
	TW_UID,
	TW_GID,
	TW_EXIT,
	TW_FREE,
	TW_ARGV,   /* a piece of the argv of the TW_EXEC that follows */
	TW_CGROUP, /* the path of rec.cgroup, before its first use */
	TW_TASK,   /* a task found by the iterator */
	TW_REPORT, /* an error of a watcher in the kernel */
	TW_EMIT,   /* a module's own record: val is the module's id */
	TW_KINDS,
};

enum {
	TW_GROUP = 1,      /* exit: no thread of the process is alive */
	TW_NO_MAXRSS = 2,  /* exit: the high-water mark could not be read */
	TW_NO_IO = 4,      /* exit: the kernel does not account I/O */
	TW_EXE_CUT = 8,    /* the path is longer than there is room for */
	TW_CWD_CUT = 16,
	TW_EXE_GONE = 32,  /* the file has no name any more */
	TW_CWD_GONE = 64,
	TW_ARGV_CUT = 128, /* part of argv could not be read or sent */
	TW_KTHREAD = 256,
	TW_EXITED = 512,   /* task: it is past its exit event */
	TW_WANTED = 1024,  /* report: an exec that was only asked for */
	TW_ARGV_LEFT = 2048, /* nobody wants argv */
	TW_NO_USAGE = 4096,  /* exit: nobody wants what is behind rec, and it is not there */
};

struct tw_rec {
	u16 kind, flags;
	u32 pid, tid, ppid;
	u32 lost;    /* records of watched kinds that found no room, so far */
	u32 dropped; /* records of any kind that found no room, so far */
	u64 time;    /* CLOCK_MONOTONIC */
	u64 task;    /* the task_struct's address */
	u64 start;   /* CLOCK_BOOTTIME */
	u64 val;
	/* A TW_FREE ends here. */
	u64 creator; /* init, clone: address of the task that called fork */
	u64 cgroup;  /* id in the unified hierarchy */
	u32 uid[4], gid[4]; /* real, effective, saved, fs */
	char comm[16];
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
	u32 argv_off; /* how much of argv was sent before, in TW_ARGV records */
};

/*
 * A TW_REPORT is a struct tw_data. rec.val is the watcher's id and flags,
 * rec.creator the event's val, argv_off the error number. An exec has exe, cwd
 * and argv; a change of ids has its struct task_ids as argv.
 */

#endif
