/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Memory for a moment: at each end of a task all of it is claimed, one slot after
 * the other, and given back. What a slot has stays what its owner has written.
 */
#include "task_watchers.h"

#define SLOTS 3

struct large {
	__u64 owner[100];
};
task_scratch(slots, struct large, SLOTS);

/* Each end of a task adds SLOTS + 1 to claimed and refused together. */
__u64 ends, claimed, refused, disturbed, same, left;
MODULE_GLOBAL(ends);
MODULE_GLOBAL(claimed);
MODULE_GLOBAL(refused);
MODULE_GLOBAL(disturbed);
MODULE_GLOBAL(same);
MODULE_GLOBAL(left);

static __noinline void own(struct large *l, __u64 who)
{
	for (int i = 0; i < 100; i++)
		*(volatile __u64 *)&l->owner[i] = who;
}

static __noinline void look(struct large *l, __u64 who)
{
	for (int i = 0; i < 100; i++)
		if (*(volatile __u64 *)&l->owner[i] != who)
			__sync_fetch_and_add(&disturbed, 1);
}

static int take(unsigned long code, struct task_struct *tsk)
{
	__u64 who = __sync_fetch_and_add(&ends, 1) * (SLOTS + 1) + 1;
	struct large *a = slots_claim(), *b = slots_claim(), *c = slots_claim(), *d = slots_claim();
	__u64 got = (a != 0) + (b != 0) + (c != 0) + (d != 0);

	__sync_fetch_and_add(&claimed, got);
	__sync_fetch_and_add(&refused, SLOTS + 1 - got);
	if ((a && a == b) || (a && a == c) || (b && b == c))
		__sync_fetch_and_add(&same, 1);
	if (a)
		own(a, who);
	if (b)
		own(b, who + 1);
	if (c)
		own(c, who + 2);
	if (a) {
		look(a, who);
		slots_release(a);
	}
	if (b) {
		look(b, who + 1);
		slots_release(b);
	}
	if (c) {
		look(c, who + 2);
		slots_release(c);
	}
	if (d) {
		__sync_fetch_and_add(&left, 1); /* a slot more than there are, or another's that was given back meanwhile */
		slots_release(d);
	}
	return 0;
}
task_watcher_func(exit, take);

MODULE_LICENSE("GPL");
