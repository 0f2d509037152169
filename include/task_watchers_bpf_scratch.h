/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Memory for what the stack has no room for. */
#ifndef TASK_WATCHERS_BPF_SCRATCH_H
#define TASK_WATCHERS_BPF_SCRATCH_H

/*
 * task_scratch - have memory for a moment, more than the stack has
 *
 *	task_scratch(entries, struct entry, 128);
 *
 *	struct entry *e = entries_claim();
 *
 *	if (!e) {
 *		__sync_fetch_and_add(&busy, 1);
 *		return 0;
 *	}
 *	...
 *	entries_release(e);
 *
 * NAME_claim() returns one of the slots, which belongs to this call of a watcher
 * alone until NAME_release(slot), also where it is preempted or interrupted. It has
 * what the one before has left in it. It returns NULL where all slots are taken:
 * count that. A slot that is not released is lost for as long as the module is
 * loaded.
 */
#define task_scratch(name, valuetype, slots)                                                 \
	struct name##_slot {                                                                 \
		__u64 taken;                                                                 \
		valuetype value;                                                             \
	};                                                                                   \
	struct {                                                                             \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                            \
		__uint(max_entries, slots);                                                  \
		__type(key, __u32);                                                          \
		__type(value, struct name##_slot);                                           \
	} name SEC(".maps");                                                                 \
	/* Of its own: the loop is checked once for each place that claims. */               \
	static __attribute__((noinline, unused)) valuetype *name##_claim(void)               \
	{                                                                                    \
		__u32 tw_key = bpf_get_smp_processor_id(); /* far from those of others */    \
		struct name##_slot *tw_slot;                                                 \
                                                                                             \
		for (__u32 tw_i = 0; tw_i < (slots); tw_i++, tw_key++) {                     \
			__u32 tw_at = tw_key % (slots);                                      \
                                                                                             \
			tw_slot = bpf_map_lookup_elem(&name, &tw_at);                        \
			if (tw_slot && !tw_slot->taken && !__sync_val_compare_and_swap(&tw_slot->taken, 0, 1)) \
				return &tw_slot->value;                                      \
		}                                                                            \
		return 0;                                                                    \
	}                                                                                    \
	static __always_inline __attribute__((unused)) void name##_release(valuetype *tw_value) \
	{                                                                                    \
		struct name##_slot *tw_slot =                                                \
			(void *)((char *)tw_value - __builtin_offsetof(struct name##_slot, value)); \
                                                                                             \
		/* Not an assignment: what was read of the value was read before. */         \
		__sync_val_compare_and_swap(&tw_slot->taken, 1, 0);                          \
	}                                                                                    \
	_Static_assert((slots) > 0, "")

#endif
