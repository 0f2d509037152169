/* Waits for a line, and runs a program from a thread that is not the first. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static void *run(void *arg)
{
	execl("/bin/sh", "sh", "-c", "echo; exec cat", (char *)NULL);
	return arg;
}

int main(void)
{
	char line[8];
	pthread_t t;

	if (read(0, line, 1) != 1 || pthread_create(&t, NULL, run, NULL))
		return 2;
	pthread_join(t, NULL);
	return 3;
}
