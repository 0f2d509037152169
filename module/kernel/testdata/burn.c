/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* burn N K: N children that use the CPU for a while; K of them are killed. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void burn(long ns)
{
	struct timespec t;

	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	while (t.tv_sec * 1000000000L + t.tv_nsec < ns);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	for (int i = 0; i < atoi(argv[1]); i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 3;
		if (!pid) {
			burn(15000000);
			if (i < atoi(argv[2]))
				raise(SIGKILL);
			_exit(1);
		}
		if (waitpid(pid, NULL, 0) != pid)
			return 4;
	}
	return 0;
}
