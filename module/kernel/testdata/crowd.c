/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * crowd: tasks that stay, and a storm of others that come and go, in a session
 * of its own.
 *
 * Those that stay: a process of three threads, one whose leader has ended and
 * has one thread left, and a zombie. Then it answers each byte on its standard
 * input with a line:
 *
 *	s	begin the storm
 *	q	end it; none of its tasks is left
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 3

static atomic_int *stormy;

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void *nothing(void *arg) { return arg; }

static void *runner(void *arg)
{
	execl("/proc/self/exe", "crowd", "exit", NULL);
	_exit(1);
	return arg;
}

static void in_thread(void *(*fn)(void *))
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, NULL))
		_exit(1);
}

/* child - what the i-th child of a worker does */
static void child(int i)
{
	switch (i % 4) {
	case 1: /* its thread ends at any time */
		in_thread(nothing);
		break;
	case 2: /* the thread gets the leader's id */
		in_thread(runner);
		pause();
		break;
	case 3: /* an orphan that reaps itself */
		if (!fork())
			_exit(0);
		break;
	}
	_exit(0);
}

static void worker(void)
{
	for (int i = 0; *stormy; i++) {
		pid_t pid = fork();

		if (!pid)
			child(i);
		if (pid < 0)
			_exit(1);
		while (waitpid(-1, NULL, 0) > 0)
			;
	}
	_exit(0);
}

static pid_t stay(int leader_ends)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	in_thread(sleeper);
	if (leader_ends)
		pthread_exit(NULL);
	in_thread(sleeper);
	sleeper(NULL);
	return 0;
}

int main(int argc, char **argv)
{
	pid_t workers[WORKERS];
	int c;

	if (argc > 1)
		return 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	stormy = mmap(NULL, sizeof(*stormy), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stormy == MAP_FAILED)
		return 1;
	pid_t a = stay(0), b = stay(1), zombie = fork();

	if (!zombie)
		_exit(0);
	if (waitid(P_PID, zombie, &(siginfo_t){}, WEXITED | WNOWAIT))
		return 1;
	while ((c = getchar()) != EOF) {
		if (c == 's') {
			*stormy = 1;
			for (int i = 0; i < WORKERS; i++) {
				workers[i] = fork();
				if (!workers[i]) {
					prctl(PR_SET_CHILD_SUBREAPER, 1);
					prctl(PR_SET_PDEATHSIG, SIGKILL);
					worker();
				}
			}
		} else {
			*stormy = 0;
			for (int i = 0; i < WORKERS; i++) {
				int status;

				if (waitpid(workers[i], &status, 0) != workers[i] || status)
					return 1;
			}
		}
		puts("done");
		fflush(stdout);
	}
	kill(a, SIGKILL);
	kill(b, SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
