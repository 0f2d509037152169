/* load fork|exec|thread N FILE: makes N tasks one after the other, waits for
 * each, and writes the time of one, in ns, to FILE. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *nothing(void *arg)
{
	return arg;
}

int main(int argc, char **argv)
{
	struct timespec from, to;

	if (argc != 4)
		return 2;
	int n = atoi(argv[2]), threads = !strcmp(argv[1], "thread"), execs = !strcmp(argv[1], "exec");
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < n; i++) {
		if (threads) {
			pthread_t t;
			if (pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL))
				return 3;
			continue;
		}
		pid_t pid = fork();
		if (pid < 0)
			return 3;
		if (pid == 0) {
			if (execs)
				execl("/bin/true", "true", (char *)NULL);
			_exit(execs ? 127 : 0);
		}
		int status;
		if (waitpid(pid, &status, 0) < 0 || status)
			return 4;
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	FILE *f = fopen(argv[3], "w");
	if (!f)
		return 5;
	fprintf(f, "%.0f\n", ((to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec)) / n);
	return fclose(f) != 0;
}
