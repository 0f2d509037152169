/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * twvetoed: tries a fork, an exec, a change of the user id and one of the
 * group id, and prints the errno of each, 0 for success.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int status, err_fork = 0, err_exec = 0, err_uid = 0, err_gid = 0;
	pid_t pid;

	(void)argv;
	if (argc > 1)
		return 0;
	prctl(PR_SET_NAME, "twvetoed");
	pid = fork();
	if (!pid)
		_exit(0);
	if (pid < 0)
		err_fork = errno;
	else
		waitpid(pid, &status, 0);

	/* The exec happens in a child made under another name. */
	prctl(PR_SET_NAME, "other");
	pid = fork();
	if (!pid) {
		prctl(PR_SET_NAME, "twvetoed");
		execl("/proc/self/exe", "twvetoed", "again", NULL);
		_exit(errno);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 2;
	err_exec = WEXITSTATUS(status);
	prctl(PR_SET_NAME, "twvetoed");

	if (syscall(SYS_setresgid, 11, 12, 13))
		err_gid = errno;
	if (syscall(SYS_setresuid, 21, 22, 23))
		err_uid = errno;
	printf("fork=%d exec=%d uid=%d gid=%d\n", err_fork, err_exec, err_uid, err_gid);
	return 0;
}
