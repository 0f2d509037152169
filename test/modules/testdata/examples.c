/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the modules of docs/examples look at:
 *
 *	run PROGRAM ARG...	runs it and returns its code, 126 if the exec is denied
 *	after FILE WHAT...	tries to become FILE, which is no program, and goes on
 *	exit			does nothing
 *	fork N			N children
 *	root			becomes root again after it was not
 *	sleep			for a fifth of a second
 *	wait			for a line; then 3 children
 *	orphan			a child that leaves a child behind; prints both
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int end(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		exit(2);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

static void children(int n)
{
	while (n-- > 0) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		end(pid);
	}
}

static void orphan(void)
{
	int hold[2];
	pid_t pid;
	char c;

	if (pipe(hold))
		exit(4);
	pid = fork();
	if (pid) {
		end(pid);
		return; /* and with it the last end of the pipe that is written to */
	}
	pid = fork();
	if (!pid) {
		close(hold[1]);
		if (read(hold[0], &c, 1))
			_exit(5);
		_exit(0);
	}
	printf("%d %d\n", getpid(), pid);
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "after")) {
		execv(argv[2], argv + 2);
		return main(argc - 2, argv + 2);
	}
	if (!strcmp(what, "run")) {
		pid_t pid = fork();

		if (!pid) {
			execv(argv[2], argv + 2);
			_exit(126);
		}
		return end(pid);
	}
	if (!strcmp(what, "fork"))
		children(atoi(argv[2]));
	else if (!strcmp(what, "root"))
		return setresuid(1, 1, 0) || setresuid(0, 0, 0);
	else if (!strcmp(what, "sleep"))
		usleep(200000);
	else if (!strcmp(what, "wait")) {
		if (getchar() != '\n')
			return 6;
		children(3);
	} else if (!strcmp(what, "orphan"))
		orphan();
	return 0;
}
