// race N DENIED OTHER MARK: N times runs OTHER while a thread writes DENIED
// over its name, or another argument over its first, and back.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *names[2];
static const char *const arguments[2] = { "normal-argument", "denied-argument" };
static char name[4096], argument[32];

static void *rewrite_name(void *unused)
{
	(void)unused;
	for (unsigned i = 0;; i++)
		strcpy(name, names[i % 2]);
	return NULL;
}

static void *rewrite_argument(void *unused)
{
	(void)unused;
	for (unsigned i = 0;; i++)
		memcpy(argument, arguments[i % 2], 6);
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	names[0] = argv[3];
	names[1] = argv[2];
	for (int i = 0; i < atoi(argv[1]); i++) {
		pid_t pid = fork();
		if (pid == 0) {
			strcpy(name, names[0]);
			strcpy(argument, arguments[0]);
			char *args[] = { "x", argument, argv[4], NULL };
			pthread_t t;
			if (pthread_create(&t, NULL, i % 4 == 3 ? rewrite_argument : rewrite_name, NULL))
				_exit(3);
			execv(name, args);
			_exit(126);
		}
		int st;
		if (pid < 0 || waitpid(pid, &st, 0) != pid || (WIFEXITED(st) && WEXITSTATUS(st) == 3))
			return 3;
	}
	return 0;
}
