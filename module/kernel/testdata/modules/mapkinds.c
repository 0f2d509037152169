/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps of several kinds, which the test reads and writes; counts execs by task. */
#include "task_watchers.h"

enum color { RED, GREEN = 5 };

struct account {
	__u64 execs;
	char name[8];
	__s16 list[2];
};

struct place {
	__u32 a;
	__s16 b;
};

struct mixed {
	__u8 first;
	union {
		__u32 word;
		__u8 part[4];
	};
	struct {
		__s8 inner;
		union {
			__u16 half;
			__u8 low;
		} named;
	};
	__u32 flag : 1, small : 5, : 3, wide : 20;
	int below : 4;
};

task_storage(accounts, struct account);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, struct place);
	__type(value, enum color);
} colors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} each SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 20000);
	__uint(key_size, 4);
	__uint(value_size, 4);
} untyped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct mixed);
} mixtures SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct prefix {
	__u32 bits;
	__u8 of[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} prefixes SEC(".maps");

static int executed(unsigned long val, struct task_struct *tsk)
{
	__u32 one = 1, zero = 0;
	struct place none = {};
	struct account *a = accounts_create(tsk);
	__u64 *n = bpf_map_lookup_elem(&each, &one);

	if (a)
		a->execs++;
	if (n)
		*n += 1;
	bpf_map_lookup_elem(&colors, &none);
	bpf_map_lookup_elem(&untyped, &zero);
	bpf_map_lookup_elem(&mixtures, &zero);
	return 0;
}
task_watcher_func(exec, executed);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("maps, for tests");
