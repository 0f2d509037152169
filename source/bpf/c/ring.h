/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The ring buffer: what found no room in it, and when its reader wakes up. */
#ifndef TASKWATCH_STREAM_RING_H
#define TASKWATCH_STREAM_RING_H

#include "kernel.h"
#include "record.h"
#include "control.h"

/* Set before the load. */
const volatile u32 clone_is_init;    /* the two are one moment, and one record */
const volatile u32 wake_bytes = 1;   /* wakes a reader that armed ARMED_FULL */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

/* Records that found no room, by kind; one that is two events counts for both. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TW_KINDS);
	__type(key, u32);
	__type(value, u64);
} losses SEC(".maps");

static __always_inline void add_loss(u32 kind)
{
	u64 *n = bpf_map_lookup_elem(&losses, &kind);

	if (n)
		__sync_fetch_and_add(n, 1); /* the task may be preempted, and another one come here */
}

/* Counts a record of the given kind that found no room. */
static __noinline void lose(u32 kind)
{
	u32 kinds = control.kinds, events;

	add_loss(kind);
	events = kind < 32 ? kinds >> kind & 1 : 0;
	if (kind == TW_CLONE && clone_is_init && kinds & 1u << TW_INIT) {
		add_loss(TW_INIT);
		events++;
	}
	if (events)
		__sync_fetch_and_add(&control.lost, events);
	__sync_fetch_and_add(&control.dropped, 1);
}

/*
 * How to submit a record: without a wake-up, unless the reader asked for one.
 * Whether the buffer fills up is looked at where many is true, which is enough
 * to be once per task and once per change of a task.
 */
static __always_inline u64 wake(int many)
{
	u32 armed = *(volatile u32 *)&control.armed;

	if (armed == ARMED_NOT)
		return BPF_RB_NO_WAKEUP;
	if (armed == ARMED_FULL && (!many || bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) < wake_bytes))
		return BPF_RB_NO_WAKEUP;
	control.armed = ARMED_NOT;
	return BPF_RB_FORCE_WAKEUP;
}

#endif
