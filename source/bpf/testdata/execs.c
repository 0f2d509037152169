/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tries to execute what is not there, by path, below a directory and by descriptor. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	char *argv[] = {"execs", "an argument", NULL}, *none[] = {NULL};
	int dir = open("/", O_PATH | O_DIRECTORY);

	if (dir < 0 || dup2(dir, 77) < 0)
		return 1;
	execve("/no/such/program", argv, none);
	syscall(SYS_execveat, 77, "no/such/program", argv, none, 0);
	syscall(SYS_execveat, 77, "/no/such/program", argv, none, 0);
	syscall(SYS_execveat, AT_FDCWD, "no/such/program", argv, none, 0);
	syscall(SYS_execveat, 78, "", argv, none, AT_EMPTY_PATH);
	return 0;
}
