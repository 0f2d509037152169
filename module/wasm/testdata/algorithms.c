/*
 * algorithms: computes a little of everything from val, with loops in loops,
 * switches, recursion, calls by pointer, and memory.
 */
#include "task_watchers.h"

__u64 result;
MODULE_GLOBAL(result);

static __u8 bytes[4096];
static __u32 table[256];

static __noinline __u64 mix(__u64 x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdull;
	x ^= x >> 33;
	return x;
}

static __noinline __u64 fib(__u32 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

static __noinline __u64 gcd(__u64 a, __u64 b)
{
	while (b) {
		__u64 t = a % b;

		a = b;
		b = t;
	}
	return a;
}

static __u64 (*const by_number[])(__u64) = { mix, mix };

static int compute(unsigned long val, struct task_struct *tsk)
{
	__u64 seed = task_val(val, tsk), sum = 0;

	for (__u32 i = 0; i < 256; i++) {
		__u32 c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
		table[i] = c;
	}
	for (__u32 i = 0; i < sizeof(bytes); i++)
		bytes[i] = seed = mix(seed + i);
	for (__u32 i = 1; i < sizeof(bytes); i++) /* sort */
		for (__u32 j = i; j > 0 && i < 200 && bytes[j - 1] > bytes[j]; j--) {
			__u8 t = bytes[j];

			bytes[j] = bytes[j - 1];
			bytes[j - 1] = t;
		}
	__u32 crc = ~0u;
	for (__u32 i = 0; i < sizeof(bytes); i++)
		crc = table[(crc ^ bytes[i]) & 0xff] ^ crc >> 8;
	for (__u32 i = 0; i < 1000; i++) {
		switch ((seed >> i % 50) & 7) {
		case 0: sum += fib(i % 10); break;
		case 1: sum ^= gcd(seed + i, crc | 1); break;
		case 2: sum = by_number[i & 1](sum); break;
		case 3: if (i % 3) continue; sum--; /* fall through */
		case 4: sum = sum << 7 | sum >> 57; break;
		case 5: do sum += 3; while (sum % 5); break;
		case 6: sum = (__s64)sum / 3; break;
		default: sum += (__u64)((double)(sum & 0xffff) * 1.5);
		}
	}
	result = sum ^ crc;
	return -(int)(result % 4000);
}
task_watcher_func(exec, compute);
