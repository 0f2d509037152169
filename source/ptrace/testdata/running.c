// running threads N: N threads that wait; at the end of the input each makes a
// process, and the program ends with 5.
// running forks N: two threads fork without a pause, for as long as there is
// input; at its end each forks N times more. Then it says how many children those
// were that nobody traced.
// running vforks: two threads, each in a vfork whose child ends when it reads a
// line; they end with the input.
// running ids: at the end of the input it takes other ids, and ends.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int gate[2], count;
static atomic_int over, untraced;

static int traced(void)
{
	char line[128];
	int tracer = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	return tracer != 0;
}

static int child(int check)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(check && !traced() ? 9 : 0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		exit(3);
	return WEXITSTATUS(status);
}

static void *waits(void *arg)
{
	char c;

	while (read(gate[0], &c, 1) > 0)
		;
	child(0);
	return arg;
}

static void *vforks(void *arg)
{
	int status;
	char c;
	pid_t pid = vfork();

	if (pid == 0) {
		close(gate[1]);
		while (read(gate[0], &c, 1) > 0)
			;
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		exit(3);
	while (!over)
		usleep(1000);
	return arg;
}

static void *forks(void *arg)
{
	while (!over)
		child(0);
	for (int i = 0; i < count; i++)
		if (child(1))
			untraced++;
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t[64];
	void *(*task)(void *) = waits;
	char c;
	int n = 2;

	if (argc < 2 || pipe(gate))
		return 2;
	if (argc > 2)
		count = atoi(argv[2]);
	if (!strcmp(argv[1], "threads"))
		n = count;
	else if (!strcmp(argv[1], "ids"))
		n = 0;
	else
		task = strcmp(argv[1], "vforks") ? forks : vforks;
	for (int i = 0; i < n; i++)
		if (pthread_create(&t[i], NULL, task, NULL))
			return 3;
	printf("%d\n", getpid());
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		if (c == '\n')
			close(gate[1]);
	over = 1;
	close(gate[1]);
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	if (!strcmp(argv[1], "ids"))
		return setresgid(7, 7, 7) || setresuid(7, 7, 7);
	if (!strcmp(argv[1], "forks"))
		printf("%d untraced\n", untraced);
	return strcmp(argv[1], "threads") ? 0 : 5;
}
