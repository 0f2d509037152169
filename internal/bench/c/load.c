/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loads of the benchmark: they cause a known number of events, as fast as
 * they can or at a given pace, and do nothing else. There is no libc, so that
 * the program is small, a fork of it cheap, and what is measured not hidden by
 * what a larger program would pay.
 *
 *	load fork N CPU GAP	N children that exit at once
 *	load exec N CPU GAP	N children that run this program, which exits
 *	load run N CPU GAP FILE	N children that run FILE without arguments
 *	load thread N CPU GAP	N threads that exit at once, 16 at a time
 *	load ids N CPU GAP	N/2 changes of the effective group id, then N/2 of the user id; N is
 *				a multiple of 4
 *	load live N		N children that live until the end of standard input
 *	load exit		exits
 *	load nest N FILE ...	runs FILE with the arguments behind it, as a child of N nested children
 *
 * CPU is the processor to run on, or -1. GAP is the time from one operation to
 * the next in nanoseconds, or 0. What it took, in nanoseconds, is written to
 * standard output; live writes a 0 when all children are there. The exit status
 * is 1 where a system call has failed.
 */
#include "../../freestanding/freestanding.h"

#if defined(__x86_64__)
enum {
	NR_read = 0, NR_write = 1, NR_clone = 56, NR_execve = 59, NR_exit = 60, NR_wait4 = 61, NR_setresuid = 117,
	NR_setresgid = 119, NR_futex = 202, NR_sched_setaffinity = 203, NR_clock_gettime = 228,
	NR_clock_nanosleep = 230, NR_exit_group = 231,
};

/* The thread has a stack of its own and does not return: it exits. */
static inline s64 thread(u64 flags, void *stack, s32 *tid)
{
	register s32 *r10 __asm__("r10") = tid;
	register s64 r8 __asm__("r8") = 0;
	s64 ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "mov $60, %%eax\n\t"
			 "xor %%edi, %%edi\n\t"
			 "syscall\n"
			 "1:"
			 : "=a"(ret) : "a"(NR_clone), "D"(flags), "S"(stack), "d"(tid), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
enum {
	NR_read = 63, NR_write = 64, NR_exit = 93, NR_exit_group = 94, NR_futex = 98, NR_clock_gettime = 113,
	NR_clock_nanosleep = 115, NR_sched_setaffinity = 122, NR_setresuid = 147, NR_setresgid = 149, NR_clone = 220,
	NR_execve = 221, NR_wait4 = 260,
};

static inline s64 thread(u64 flags, void *stack, s32 *tid)
{
	register s64 x8 __asm__("x8") = NR_clone;
	register s64 x0 __asm__("x0") = flags;
	register void *x1 __asm__("x1") = stack;
	register s32 *x2 __asm__("x2") = tid;
	register s64 x3 __asm__("x3") = 0;
	register s32 *x4 __asm__("x4") = tid;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x8, #93\n\t"
			 "svc #0\n"
			 "1:"
			 : "+r"(x0), "+r"(x8) : "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
	return x0;
}
#endif

#define call1(nr, a) call(nr, (s64)(a), 0, 0, 0, 0)
#define call3(nr, a, b, c) call(nr, (s64)(a), (s64)(b), (s64)(c), 0, 0)
#define call4(nr, a, b, c, d) call(nr, (s64)(a), (s64)(b), (s64)(c), (s64)(d), 0)

enum {
	SIGCHLD = 17,
	CLONE_VM = 0x100, CLONE_FS = 0x200, CLONE_FILES = 0x400, CLONE_SIGHAND = 0x800, CLONE_VFORK = 0x4000,
	CLONE_THREAD = 0x10000, CLONE_SYSVSEM = 0x40000, CLONE_PARENT_SETTID = 0x100000, CLONE_CHILD_CLEARTID = 0x200000,
	THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
		 CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
	CLOCK_MONOTONIC = 1, TIMER_ABSTIME = 1, FUTEX_WAIT = 0,
	THREADS = 16, STACK = 4096,
	ID = 65534,
};

static __attribute__((noreturn)) void leave(int status)
{
	for (;;)
		call1(NR_exit_group, status);
}

static s64 must(s64 ret)
{
	if (ret < 0)
		leave(1);
	return ret;
}

static s64 now(void)
{
	s64 t[2];

	must(call3(NR_clock_gettime, CLOCK_MONOTONIC, t, 0));
	return t[0] * 1000000000 + t[1];
}

static void until(s64 at)
{
	s64 t[2] = {at / 1000000000, at % 1000000000};

	must(call4(NR_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, t, 0));
}

static void reap(s64 pid)
{
	s32 status = 1;

	must(call4(NR_wait4, pid, &status, 0, 0));
	if (status)
		leave(1);
}

static void fork_one(void)
{
	s64 pid = must(call1(NR_clone, SIGCHLD));

	if (pid == 0)
		leave(0);
	reap(pid);
}

static void exec_one(char *file, char *arg)
{
	char *argv[] = {file, arg, NULL};
	char *env[] = {NULL};
	s64 pid = must(call1(NR_clone, CLONE_VM | CLONE_VFORK | SIGCHLD));

	if (pid == 0) {
		call3(NR_execve, file, argv, env);
		leave(1);
	}
	reap(pid);
}

static char stacks[THREADS][STACK] __attribute__((aligned(64)));
static volatile s32 tids[THREADS];

static void threads(int n)
{
	for (int i = 0; i < n; i++)
		must(thread(THREAD, stacks[i] + STACK, (s32 *)&tids[i]));
	for (int i = 0; i < n; i++)
		for (s32 tid; (tid = tids[i]) != 0;)
			call4(NR_futex, &tids[i], FUTEX_WAIT, tid, 0);
}

/* Group ids first: it takes root's user id to change them. */
static void ids_one(s64 i, s64 n)
{
	must(call3(i < n / 2 ? NR_setresgid : NR_setresuid, -1, i & 1 ? 0 : ID, -1));
}

static void live(s64 n)
{
	char c;

	for (s64 i = 0; i < n; i++) {
		if (must(call1(NR_clone, SIGCHLD)) == 0) {
			call3(NR_read, 0, &c, 1);
			leave(0);
		}
	}
	must(call3(NR_write, 1, "0\n", 2));
	for (s64 i = 0; i < n; i++)
		reap(-1);
}

/* Each child waits for its own; what the last one runs decides their exit status. */
static void nest(s64 n, char **argv)
{
	char *env[] = {NULL};

	for (; n > 0; n--) {
		s64 pid = must(call1(NR_clone, SIGCHLD));

		if (pid) {
			reap(pid);
			leave(0);
		}
	}
	call3(NR_execve, argv[0], argv, env);
	leave(1);
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static s64 number(const char *s)
{
	s64 n = 0;

	if (*s == '-')
		return -1;
	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + *s - '0';
	return n;
}

static void tell(s64 n)
{
	char buf[24], *p = buf + sizeof(buf);

	*--p = '\n';
	do
		*--p = '0' + n % 10;
	while (n /= 10);
	must(call3(NR_write, 1, p, buf + sizeof(buf) - p));
}

__attribute__((noreturn, used)) void begin(u64 *sp)
{
	s64 argc = sp[0], n, cpu, gap, start;
	char **argv = (char **)(sp + 1);
	const char *what = argc > 1 ? argv[1] : "";
	int step;

	if (same(what, "exit"))
		leave(0);
	if (argc > 2 && same(what, "live")) {
		live(number(argv[2]));
		leave(0);
	}
	if (argc > 3 && same(what, "nest"))
		nest(number(argv[2]), argv + 3);
	if (argc < 5)
		leave(2);
	n = number(argv[2]);
	cpu = number(argv[3]);
	gap = number(argv[4]);
	if (cpu >= 0) {
		u64 set[16] = {0};

		set[cpu / 64 & 15] = 1ul << cpu % 64;
		must(call3(NR_sched_setaffinity, 0, sizeof(set), set));
	}
	start = now();
	for (s64 i = 0; i < n; i += step) {
		step = 1;
		if (gap)
			until(start + i * gap);
		if (same(what, "fork"))
			fork_one();
		else if (same(what, "exec"))
			exec_one(argv[0], "exit");
		else if (same(what, "run") && argc > 5)
			exec_one(argv[5], NULL);
		else if (same(what, "thread"))
			threads(step = gap ? 1 : n - i < THREADS ? n - i : THREADS);
		else if (same(what, "ids"))
			ids_one(i, n);
		else
			leave(2);
	}
	tell(now() - start);
	leave(0);
}
