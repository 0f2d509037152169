/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * attack exec|fork|uid N MS [FILE]: N processes try the same thing again and again
 * for MS milliseconds, as fast as they can: to run FILE, else this program, by vfork
 * and execve, to fork, or to change an id. They are called twattack. It prints how
 * often they tried and how often it was done.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct counts {
	long tries, done;
} *counts;

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void try_exec(const char *file)
{
	int status;
	pid_t pid = vfork();

	if (!pid) {
		execl(file, "attack", NULL);
		_exit(1);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid) {
		__sync_fetch_and_add(&counts->tries, 1);
		if (status == 0)
			__sync_fetch_and_add(&counts->done, 1);
	}
}

/*
 * A fork that is denied has a task all the same, which the kernel frees when all have
 * left what they read under RCU. Who is preempted there, and is seldom scheduled, as
 * khugepaged is, holds that up for seconds: the denied forks of that time can fill a
 * machine of 1 GiB. They are slow while there is little room.
 */
static void leave_room(void)
{
	struct sysinfo info;

	for (int n = 0; n < 50 && !sysinfo(&info) && info.freeram < info.totalram / 3; n++)
		usleep(20000);
}

static void try_fork(int n)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(0);
	__sync_fetch_and_add(&counts->tries, 1);
	if (pid > 0) {
		__sync_fetch_and_add(&counts->done, 1);
		waitpid(pid, NULL, 0);
	} else if (n % 16 == 0) {
		leave_room();
	}
}

static void try_uid(int n)
{
	__sync_fetch_and_add(&counts->tries, 1);
	if (!setresuid(-1, n & 1 ? 1000 : 0, 0))
		__sync_fetch_and_add(&counts->done, 1);
}

int main(int argc, char **argv)
{
	long end;
	int n, go[2];
	char none;

	if (argc < 3)
		return 0; /* what is run, perhaps as the interpreter of FILE */
	if (argc < 4)
		return 2;
	n = atoi(argv[2]);
	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	end = now_ms() + atol(argv[3]);
	if (pipe(go))
		return 3;
	while (n--) {
		pid_t pid = fork();

		if (pid < 0)
			return 4;
		if (!pid) {
			/* They begin when all are there: where tasks are limited, one could find no room. */
			close(go[1]);
			if (read(go[0], &none, 1))
				return 5;
			prctl(PR_SET_NAME, "twattack");
			for (int i = 1; now_ms() < end; i++)
				if (!strcmp(argv[1], "exec"))
					try_exec(argc > 4 ? argv[4] : "/proc/self/exe");
				else if (!strcmp(argv[1], "fork"))
					try_fork(i);
				else
					try_uid(i);
			return 0;
		}
	}
	close(go[1]);
	while (wait(NULL) > 0)
		;
	printf("%ld %ld\n", counts->tries, counts->done);
	return 0;
}
