/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * storm COUNT WIDTH PROGRAM GROUP: runs PROGRAM, which is this one under another
 * name, COUNT times, up to WIDTH of it at once, and says "half" in the middle. Each
 * looks whether it is in GROUP, and ends. At the end it says how many were elsewhere.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ELSEWHERE 7

static int look(const char *group)
{
	char line[4096], want[4096];
	FILE *f = fopen("/proc/self/cgroup", "r");

	if (!f)
		return 1;
	snprintf(want, sizeof(want), "0::%s\n", group);
	while (fgets(line, sizeof(line), f))
		if (!strcmp(line, want))
			return 0;
	return ELSEWHERE;
}

int main(int argc, char **argv)
{
	int count, width, begun = 0, ended = 0, elsewhere = 0;

	if (argc == 2)
		return look(argv[1]);
	if (argc != 5)
		return 2;
	count = atoi(argv[1]);
	width = atoi(argv[2]);
	setvbuf(stdout, NULL, _IONBF, 0);
	while (ended < count) {
		int status;

		if (begun < count && begun - ended < width) {
			pid_t pid = fork();

			if (pid < 0)
				return 3;
			if (!pid) {
				execl(argv[3], argv[3], argv[4], (char *)NULL);
				_exit(4);
			}
			begun++;
			continue;
		}
		if (wait(&status) < 0)
			return 5;
		if (!WIFEXITED(status) || (WEXITSTATUS(status) && WEXITSTATUS(status) != ELSEWHERE)) {
			fprintf(stderr, "a process ended with status %#x\n", status);
			return 6;
		}
		elsewhere += WEXITSTATUS(status) == ELSEWHERE;
		if (++ended == count / 2)
			puts("half");
	}
	printf("%d of %d elsewhere\n", elsewhere, count);
	return 0;
}
