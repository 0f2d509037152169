/*
 * A process whose first task ends before the others: another one then changes its
 * user id, and runs this program again. That forks, and runs the program a third time
 * from another task, while the first one waits.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char state(void)
{
	char name[32], line[512], *end = NULL;
	FILE *f;

	snprintf(name, sizeof(name), "/proc/%d/stat", getpid());
	f = fopen(name, "r");
	if (f && fgets(line, sizeof(line), f))
		end = strrchr(line, ')');
	if (!end)
		exit(2);
	fclose(f);
	return end[2];
}

static void *go_on(void *arg)
{
	while (state() != 'Z')
		usleep(1000);
	if (syscall(SYS_setresuid, 1, -1, -1)) /* of this task alone */
		exit(3);
	execl(arg, arg, "again", (char *)NULL); /* the first one has no /proc/self/exe any more */
	exit(4);
}

static void *run(void *arg)
{
	execl(arg, arg, "again", "more", (char *)NULL);
	exit(6);
}

int main(int argc, char **argv)
{
	pthread_t t;
	pid_t child;

	if (argc > 2)
		return 0;
	if (argc > 1) {
		child = fork();
		if (!child)
			return 0;
		if (child < 0 || waitpid(child, NULL, 0) != child || pthread_create(&t, NULL, run, argv[0]))
			return 7;
		pthread_join(t, NULL);
		return 8;
	}
	if (pthread_create(&t, NULL, go_on, argv[0]))
		return 5;
	pthread_exit(NULL);
}
