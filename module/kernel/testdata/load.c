/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * load FORKS EXECS THREADS: writes a byte once it runs, waits for the end of
 * its input, does just that many of each, one after the other, and ends. "load
 * exit" ends at once.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *arg) { return arg; }

int main(int argc, char **argv)
{
	char c;

	if (argc == 2 && !strcmp(argv[1], "exit"))
		return 0;
	if (argc != 4 || write(1, "", 1) != 1 || read(0, &c, 1) != 0)
		return 2;
	for (int i = atoi(argv[1]); i > 0; i--) {
		pid_t pid = fork();

		if (pid < 0)
			return perror("fork"), 3;
		if (!pid)
			_exit(7);
		if (waitpid(pid, NULL, 0) != pid)
			return 4;
	}
	for (int i = atoi(argv[2]); i > 0; i--) {
		pid_t pid = fork();

		if (pid < 0)
			return perror("fork"), 3;
		if (!pid) {
			execl("/proc/self/exe", "load", "exit", NULL);
			_exit(1);
		}
		if (waitpid(pid, NULL, 0) != pid)
			return 4;
	}
	for (int i = atoi(argv[3]); i > 0; i--) {
		pthread_t t;

		if (pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL))
			return 5;
	}
	return 0;
}
