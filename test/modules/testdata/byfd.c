/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* byfd GID FILE ARG...: joins the group and runs the file, by its descriptor. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int fd;

	if (argc < 3 || setgid(atoi(argv[1])) || (fd = open(argv[2], O_RDONLY | O_CLOEXEC)) < 0) {
		perror("byfd");
		return 2;
	}
	syscall(SYS_execveat, fd, "", argv + 2, environ, AT_EMPTY_PATH);
	perror(argv[2]);
	return 3;
}
