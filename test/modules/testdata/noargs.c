/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* noargs GID FILE [empty]: joins the group and runs the file without arguments, not
 * even its name: by a list that is empty, or by none. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char *empty[] = {NULL};

	if (argc < 3 || setgid(atoi(argv[1]))) {
		perror("noargs");
		return 2;
	}
	syscall(SYS_execve, argv[2], argc > 3 ? empty : NULL, environ);
	perror(argv[2]);
	return 3;
}
