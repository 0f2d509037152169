/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * audited: runs itself with strange arguments as a child, which runs the program
 * in HELPER, if there is one, and says the pids. Then it ends by a signal that
 * dumps core.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char *args[] = {argv[0], "child", "a b", "q\"uote", "", "\xff\n", NULL};
	struct rlimit none = {0, 0};
	pid_t pid;

	if (argc > 1) {
		char *helper = getenv("HELPER");

		unsetenv("HELPER");
		if (helper)
			execl(helper, "helper", "child", (char *)NULL);
		return 3;
	}
	setrlimit(RLIMIT_CORE, &none);
	pid = fork();
	if (!pid) {
		execv(argv[0], args);
		_exit(9);
	}
	if (waitpid(pid, NULL, 0) != pid)
		return 1;
	printf("%d\n", pid);
	fflush(stdout);
	raise(SIGSEGV);
	return 2;
}
