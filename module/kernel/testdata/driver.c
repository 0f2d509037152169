/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * driver: has task events happen as it is told, by single bytes on its
 * standard input. It answers each with a line.
 *
 *	f	fork a child that exits with 7; answers the errno, or 0
 *	e	fork a child that executes a program
 *	u, g	fork a child that changes its user ids, or group ids
 *	s	fork, exec and start threads until the next byte; answers how
 *		many of each
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *arg) { return arg; }

/* in_child - the errno of what a child did, or of the fork */
static int in_child(char what)
{
	/* The flag does nothing but to be seen by watchers. */
	long pid = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
	int status;

	if (pid < 0)
		return errno;
	if (!pid) {
		int failed = 0;

		switch (what) {
		case 'f':
			_exit(7);
		case 'e':
			execl("/proc/self/exe", "driver", "exit", NULL);
			_exit(errno);
		case 'u':
			failed = syscall(SYS_setresuid, 21, 22, 23);
			break;
		case 'g':
			failed = syscall(SYS_setresgid, 21, 22, 23);
			break;
		}
		_exit(failed ? errno : 0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 255;
	return what == 'f' ? WEXITSTATUS(status) - 7 : WEXITSTATUS(status);
}

static int storm(void)
{
	unsigned long forks = 0, execs = 0, threads = 0;
	struct pollfd in = { .fd = 0, .events = POLLIN };

	while (poll(&in, 1, 0) == 0) {
		for (int i = 0; i < 4; i++) {
			if (in_child(i ? 'f' : 'e'))
				return 3;
			*(i ? &forks : &execs) += 1;
		}
		pthread_t t;

		if (pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL))
			return 4;
		threads++;
	}
	printf("%lu %lu %lu\n", forks, execs, threads);
	return 0;
}

int main(int argc, char **argv)
{
	char what;

	if (argc == 2 && !strcmp(argv[1], "exit"))
		return 0;
	while (read(0, &what, 1) == 1) {
		if (what == 's') {
			int failed = storm();

			if (failed || read(0, &what, 1) != 1)
				return failed;
		} else {
			printf("%d\n", in_child(what));
		}
		fflush(stdout);
	}
	return 0;
}
