/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tryfork: for each line that it reads, it tries to fork, and prints the errno. */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	char line[80];

	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		printf("%d\n", pid < 0 ? errno : 0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
	return 0;
}
