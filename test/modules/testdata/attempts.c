/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * attempts: tries operations of which the module verdicts denies some, each
 * in a child, and prints their errnos. Its group, which is its argument, is
 * what the module knows it by.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int forks(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid < 0 ? -1 : waitpid(pid, NULL, 0) - pid;
}

static int attempt(char what, int id)
{
	switch (what) {
	case 'f':
		return syscall(SYS_setresuid, -1, id, -1) ? -2 : forks();
	case 'e':
		if (syscall(SYS_setresuid, id, id, id))
			return -2;
		execl("/proc/self/exe", "attempts", "exit", NULL);
		return -1;
	case 'u':
		return syscall(SYS_setresuid, -1, id, -1);
	case 'g':
		return syscall(SYS_setresgid, -1, -1, id);
	}
	return -2;
}

int main(int argc, char **argv)
{
	static const struct {
		char what;
		int id;
	} list[] = { { 'f', 1 }, { 'f', 4241 }, { 'e', 1 }, { 'e', 4242 }, { 'u', 1 }, { 'u', 4243 }, { 'g', 1 }, { 'g', 4244 } };

	if (argc == 2 && !strcmp(argv[1], "exit"))
		return 0;
	if (argc != 2 || syscall(SYS_setresgid, atoi(argv[1]), atoi(argv[1]), atoi(argv[1])))
		return 3;
	for (unsigned int i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		pid_t pid = fork();
		int status;

		if (!pid)
			_exit(attempt(list[i].what, list[i].id) ? errno : 0);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return 2;
		printf("%c%d=%d ", list[i].what, list[i].id, WEXITSTATUS(status));
	}
	return 0;
}
