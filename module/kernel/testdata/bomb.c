/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bomb N [M]: tries N forks whose children all live at the same time, after the
 * first M of them from a new user namespace.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0, away = argc > 2 ? atoi(argv[2]) : -1, forks = 0, refused = 0, err = 0, wait_here[2];
	char c;

	if (pipe(wait_here))
		return 2;
	while (forks + refused < n) {
		pid_t pid;

		if (forks + refused == away && unshare(CLONE_NEWUSER)) {
			perror("unshare");
			return 2;
		}
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(wait_here[1]);
			_exit(read(wait_here[0], &c, 1) != 0);
		}
		if (pid < 0) {
			err = errno;
			refused++;
		} else {
			forks++;
		}
	}
	close(wait_here[1]);
	while (wait(NULL) > 0)
		;
	printf("%d forks, %d refused with errno %d\n", forks, refused, err);
	return 0;
}
