/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Members of the kernel's structures. */
#ifndef TASKWATCH_STREAM_READ_H
#define TASKWATCH_STREAM_READ_H

#include "kernel.h"

#ifdef PROBE_READ

/* A value at an address of the kernel, or 0 where there is none. */
#define AT(kind, from)                                              \
	({                                                          \
		kind at_ = (kind)0;                                 \
		bpf_probe_read_kernel(&at_, sizeof(at_), from);     \
		at_;                                                \
	})

#else

/* Set before the load: the type in the kernel of a structure that begins with a number. */
const volatile u32 number_type;

/*
 * The same, since Linux 6.2: the address is taken for that of a number, and a plain
 * load is ten times as fast as a call. The two are not in one object, for to take
 * one of them out at each place takes the verifier longer than the rest.
 */
#define AT(kind, from) (*(kind volatile *)bpf_rdonly_cast(from, number_type))

#endif

/*
 * A member, by AT. A plain load of a pointer, of a type that the verifier knows,
 * has it search all type names of the kernel, up to four times for each way to the
 * load, which takes a millisecond; by AT, it is a number to the verifier.
 */
#define GET(src, type, field) AT(typeof(((type *)0)->field), (void *)(src) + field_offset(type, field))

#define READ(dst, src, type, field) ((dst) = AT(typeof(dst), (void *)(src) + field_offset(type, field)))

/* The same, where 0 and a failure are to be told apart: it is not 0 then. */
#define TRY_READ(dst, src, type, field) \
	bpf_probe_read_kernel(&(dst), sizeof(dst), (void *)(src) + field_offset(type, field))

#endif
