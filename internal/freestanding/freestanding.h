/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program without a libc begins with: its types, its entry, which calls
 * begin with the stack, and a system call of up to five arguments.
 */
#ifndef TASKWATCH_FREESTANDING_H
#define TASKWATCH_FREESTANDING_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef int s32;
typedef long s64;

#define NULL ((void *)0)

#if defined(__x86_64__)
static inline s64 call(s64 nr, s64 a, s64 b, s64 c, s64 d, s64 e)
{
	register s64 r10 __asm__("r10") = d;
	register s64 r8 __asm__("r8") = e;
	s64 ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return ret;
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tcall begin\n");
#elif defined(__aarch64__)
static inline s64 call(s64 nr, s64 a, s64 b, s64 c, s64 d, s64 e)
{
	register s64 x8 __asm__("x8") = nr;
	register s64 x0 __asm__("x0") = a;
	register s64 x1 __asm__("x1") = b;
	register s64 x2 __asm__("x2") = c;
	register s64 x3 __asm__("x3") = d;
	register s64 x4 __asm__("x4") = e;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}

__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x0, sp\n\tbl begin\n");
#else
#error "the system calls of this processor are not known"
#endif

#endif
