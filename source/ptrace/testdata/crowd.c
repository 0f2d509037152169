/* crowd processes|threads N: N tasks that all live at the same time. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int gate[2];

static void *member(void *arg)
{
	char c;

	/* Returns when the last writer closes the gate. */
	while (read(gate[0], &c, 1) > 0)
		;
	return arg;
}

int main(int argc, char **argv)
{
	if (argc != 3 || pipe(gate))
		return 2;
	int n = atoi(argv[2]);
	if (!strcmp(argv[1], "threads")) {
		pthread_t *t = calloc(n, sizeof(*t));
		pthread_attr_t attr;
		pthread_attr_init(&attr);
		pthread_attr_setstacksize(&attr, 64 << 10);
		for (int i = 0; i < n; i++)
			if (pthread_create(&t[i], &attr, member, NULL))
				return 3;
		close(gate[1]);
		for (int i = 0; i < n; i++)
			pthread_join(t[i], NULL);
		return 0;
	}
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid < 0)
			return 3;
		if (pid == 0) {
			close(gate[1]);
			member(NULL);
			_exit(0);
		}
	}
	close(gate[1]);
	for (int i = 0; i < n; i++)
		if (wait(NULL) < 0)
			return 4;
	return 0;
}
