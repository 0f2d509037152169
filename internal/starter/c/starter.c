/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first stage of a command. It has no libc and a few pages of memory, so
 * that the command begins with nothing of the program that watches it: a new
 * process, made by a small one, has no high-water mark of its memory yet, and
 * no signal for its parent's death.
 *
 * It is started with the command's arguments, environment and files, and makes
 * a sibling: a child of its own parent, which becomes the command. When it ends,
 * its name is "pid " and the pid of that process, and its exit status 0 or, if
 * it waits for the exec, the error number of that. Without that name it is the
 * error number of making the process.
 *
 * It blocks all signals from its start, and the command's process blocks them
 * until it is about to become the command: what is sent to the process group
 * meanwhile must not end the one that the caller waits for.
 *
 * What to do is in orders, which Go writes into the file before it runs.
 */
#include "../../freestanding/freestanding.h"

#if defined(__x86_64__)
enum {
	NR_write = 1, NR_rt_sigprocmask = 14, NR_ioctl = 16, NR_setitimer = 38, NR_getpid = 39, NR_clone = 56, NR_execve = 59, NR_kill = 62, NR_getppid = 110, NR_setsid = 112, NR_rt_sigtimedwait = 128,
	NR_prctl = 157, NR_exit_group = 231, NR_seccomp = 317,
};
#elif defined(__aarch64__)
enum {
	NR_ioctl = 29, NR_write = 64, NR_exit_group = 94, NR_setitimer = 103, NR_kill = 129, NR_rt_sigprocmask = 135, NR_rt_sigtimedwait = 137, NR_setsid = 157, NR_prctl = 167, NR_getpid = 172, NR_getppid = 173, NR_clone = 220,
	NR_execve = 221, NR_seccomp = 277,
};
#endif

enum {
	PATH_SIZE = 4096,
	MAX_FILTER = 512,
	FAILED = 255, /* with a message on standard error */
	MAX_ERRNO = 200,

	SIGKILL = 9, SIGCHLD = 17, SIGCONT = 18, SIGSTOP = 19,
	SIG_SETMASK = 2,
	EACCES = 13,
	CLONE_VM = 0x100, CLONE_VFORK = 0x4000, CLONE_PARENT = 0x8000,
	PR_SET_PDEATHSIG = 1, PR_SET_NAME = 15, PR_SET_CHILD_SUBREAPER = 36, PR_SET_NO_NEW_PRIVS = 38,
	SECCOMP_SET_MODE_FILTER = 1,
	TIOCSCTTY = 0x540e,
};

/* The bits of orders.flags; those of Go. */
enum {
	STOP_MAKER = 1, /* this process stops before it makes the command's */
	STOP = 2,	/* the command's process stops, for a tracer, and does not make this one wait for the exec */
	DIE = 4,	/* the command is killed when the thread that has started it ends */
	SUBREAPER = 16, /* orphans below the command become its children */
	SESSION = 8,	/* the command leads a session, and its standard input is the terminal of that */
};

struct filter {
	u16 code;
	u8 jt, jf;
	u32 k;
};

struct orders {
	char mark[16];
	u32 flags;
	u32 parent; /* the pid of the process that starts this one */
	u32 filters;
	u32 death; /* the signal that the command gets when its parent dies, or 0 */
	u64 mask; /* the signals that the command's process blocks */
	s64 timers[3][4]; /* struct itimerval, by which: those that are to run */
	char path[PATH_SIZE];
	struct filter filter[MAX_FILTER];
};

/* Not const, and in memory that is written: or it would be folded into the code. */
static volatile struct orders orders = { .mark = "taskwatch orders" };
static volatile s64 failed;

static void fail(const char *what, u64 len)
{
	static const char prefix[] = "taskwatch: cannot prepare the command: ";

	call(NR_write, 2, (s64)prefix, sizeof(prefix) - 1, 0, 0);
	call(NR_write, 2, (s64)what, (s64)len, 0, 0);
	call(NR_exit_group, FAILED, 0, 0, 0, 0);
}

#define FAIL(what) fail(what "\n", sizeof(what))

static void stop(void)
{
	u64 cont = 1ULL << (SIGCONT - 1);
	s64 none[2] = {0, 0};

	call(NR_kill, call(NR_getpid, 0, 0, 0, 0, 0), SIGSTOP, 0, 0, 0);
	/* What has continued it is blocked, and waits: not for the command. */
	call(NR_rt_sigtimedwait, (s64)&cont, 0, (s64)none, sizeof(cont), 0);
}

static void install(void)
{
	struct {
		u16 len;
		volatile struct filter *filter;
	} prog = { (u16)orders.filters, orders.filter };
	s64 err = call(NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, (s64)&prog, 0, 0);

	if (err == -EACCES) {
		if (call(NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
			FAIL("the kernel does not take no_new_privs");
		err = call(NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, (s64)&prog, 0, 0);
	}
	if (err)
		FAIL("the kernel does not take the seccomp filter; look at the seccomp profile of the container");
}

/* The command's process. Its stack may be its maker's, who waits. */
static __attribute__((noinline)) void become(char **argv, char **envp)
{
	s64 err;

	if (orders.flags & (STOP | DIE)) {
		call(NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (call(NR_getppid, 0, 0, 0, 0, 0) != orders.parent)
			call(NR_exit_group, FAILED, 0, 0, 0, 0); /* it is dead already */
	}
	if (orders.flags & STOP) {
		stop();
		/* From here on PTRACE_O_EXITKILL sees to what the signal was for. */
		call(NR_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0);
	}
	if (orders.death && !(orders.flags & DIE))
		call(NR_prctl, PR_SET_PDEATHSIG, orders.death, 0, 0, 0);
	if (orders.flags & SUBREAPER)
		call(NR_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (orders.flags & SESSION) {
		call(NR_setsid, 0, 0, 0, 0, 0);
		if (call(NR_ioctl, 0, TIOCSCTTY, 0, 0, 0))
			FAIL("its standard input is no terminal that a session can have");
	}
	for (int i = 0; i < 3; i++)
		if (orders.timers[i][2] | orders.timers[i][3])
			call(NR_setitimer, i, (s64)orders.timers[i], 0, 0, 0);
	call(NR_rt_sigprocmask, SIG_SETMASK, (s64)&orders.mask, 0, sizeof(orders.mask), 0);
	if (orders.filters)
		install();
	err = -call(NR_execve, (s64)orders.path, (s64)argv, (s64)envp, 0, 0);
	if (err >= MAX_ERRNO)
		err = FAILED;
	failed = err;
	call(NR_exit_group, err, 0, 0, 0, 0);
}

static void name(s64 pid)
{
	char digits[16], *p = digits + sizeof(digits);

	*--p = 0;
	do {
		*--p = (char)('0' + pid % 10);
		pid /= 10;
	} while (pid);
	*--p = ' ';
	*--p = 'd';
	*--p = 'i';
	*--p = 'p';
	call(NR_prctl, PR_SET_NAME, (s64)p, 0, 0, 0);
}

__attribute__((used)) void begin(u64 *stack)
{
	s64 argc = (s64)stack[0];
	char **argv = (char **)(stack + 1);
	s64 flags = CLONE_PARENT | SIGCHLD, pid;

	if (!(orders.flags & STOP))
		flags |= CLONE_VFORK | CLONE_VM;
	if (orders.flags & STOP_MAKER)
		stop();
	pid = call(NR_clone, flags, 0, 0, 0, 0);
	if (pid == 0)
		become(argv, argv + argc + 1);
	if (pid < 0)
		call(NR_exit_group, -pid, 0, 0, 0, 0);
	name(pid);
	call(NR_exit_group, failed, 0, 0, 0, 0);
}
