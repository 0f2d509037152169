/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A module that sends two kinds of struct at every clone by one process. */
#include "task_watchers.h"

module_param(parent, __u32, 0);

enum colour { RED = -1, GREEN = 7 };

struct point {
	short x, y;
};

struct all {
	__u64 big;
	__s32 tid;
	bool yes;
	char name[16];
	char bytes[4];
	struct point points[2];
	enum colour colour;
	__u32 three : 3, odd : 5;
	union {
		__u32 word;
		__u8 parts[4];
	};
	void *pointer;
};

struct small {
	__u32 tid;
};

static int send(unsigned long flags, struct task_struct *tsk)
{
	struct all all = {
		.big = ~0ull, .tid = task_tid(tsk), .yes = true, .name = "a\"b\n", .bytes = {(char)0xff, 'z'},
		.points = {{1, -2}, {3, 4}}, .colour = RED, .three = 5, .odd = 17, .word = 0x04030201, .pointer = (void *)0x1234,
	};
	struct small small = {.tid = task_tid(tsk)};

	if ((__u32)task_ppid(tsk) != parent)
		return 0;
	task_watcher_emit_struct(&all);
	task_watcher_emit_struct(&small);
	task_watcher_emit(&small, sizeof(small));
	return 0;
}
task_watcher_func(clone, send);

MODULE_LICENSE("Dual BSD/GPL");
