/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * oom N: on a byte of standard input makes N children, one after the other, each
 * with three more threads, that use memory until the kernel kills them. Prints
 * how many it has killed.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 3
#define STEP (1 << 20)
#define STEPS 200 /* where there is no limit, it ends */

static void *use(void *arg)
{
	for (int i = 0; i < STEPS; i++) {
		void *p = mmap(NULL, STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return NULL;
		memset(p, 1, STEP);
	}
	return arg;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0, killed = 0, status;
	char c;

	if (read(0, &c, 1) != 1)
		return 2;
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 3;
		if (!pid) {
			pthread_t t;

			for (int j = 0; j < THREADS; j++)
				if (pthread_create(&t, NULL, use, NULL))
					_exit(4);
			for (;;)
				pause();
		}
		if (waitpid(pid, &status, 0) != pid)
			return 5;
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	}
	printf("%d\n", killed);
	fflush(stdout);
	return read(0, &c, 1) != 0;
}
