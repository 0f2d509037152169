/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Memory for what the stack has no room for. */
#ifndef TASK_WATCHERS_WASM_SCRATCH_H
#define TASK_WATCHERS_WASM_SCRATCH_H

/*
 * task_scratch - have memory for a moment, more than the stack has
 *
 * As in the kernel. The sandbox runs one watcher of a module at a time, so only
 * the slots that the same call has taken are taken.
 */
#define task_scratch(name, valuetype, slots)                                                 \
	static struct {                                                                      \
		bool taken[slots];                                                           \
		valuetype values[slots];                                                     \
	} name;                                                                              \
	static inline __attribute__((unused)) valuetype *name##_claim(void)                  \
	{                                                                                    \
		for (__u32 tw_i = 0; tw_i < (slots); tw_i++) {                               \
			if (name.taken[tw_i])                                                \
				continue;                                                    \
			name.taken[tw_i] = true;                                             \
			return &name.values[tw_i];                                           \
		}                                                                            \
		return 0;                                                                    \
	}                                                                                    \
	static inline __attribute__((unused)) void name##_release(valuetype *tw_value)       \
	{                                                                                    \
		name.taken[tw_value - name.values] = false;                                  \
	}                                                                                    \
	_Static_assert((slots) > 0, "")

#endif
