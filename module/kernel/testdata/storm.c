/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * storm: waits for a byte, then forks, execs and starts threads until its
 * standard input ends, and prints how many of each it did.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *arg) { return arg; }

int main(int argc, char **argv)
{
	unsigned long forks = 0, execs = 0, threads = 0;
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char c;

	if (argc == 2 && !strcmp(argv[1], "exit"))
		return 0;
	if (read(0, &c, 1) != 1)
		return 2;
	while (poll(&in, 1, 0) == 0) {
		for (int i = 0; i < 4; i++) {
			pid_t pid = fork();

			if (pid < 0)
				return 3;
			if (!pid && i)
				_exit(0);
			if (!pid) {
				execl("/proc/self/exe", "storm", "exit", NULL);
				_exit(1);
			}
			if (waitpid(pid, NULL, 0) != pid)
				return 4;
			*(i ? &forks : &execs) += 1;
		}
		pthread_t t;

		if (pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL))
			return 5;
		threads++;
	}
	printf("%lu %lu %lu\n", forks, execs, threads);
	return 0;
}
