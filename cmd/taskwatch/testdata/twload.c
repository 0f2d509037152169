/*
 * Loads for a daemon that works for long.
 *
 *	twload storm	forks until the end of stdin, under the name twstorm; every
 *			eighth child runs this program as "twload leaf". Then it
 *			says how many children there were, and how many ran it.
 *	twload tasks N	N threads, in processes of up to 500; says "up", and waits
 *			for the end of stdin
 *	twload leaf	ends at once
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static int storm(const char *self)
{
	long forks = 0, execs = 0;
	int status;
	char c;

	if (prctl(PR_SET_NAME, "twstorm") || fcntl(0, F_SETFL, O_NONBLOCK))
		die("twload");
	while (read(0, &c, 1) != 0) {
		int leaf = forks % 8 == 0;
		pid_t pid = fork();

		if (pid == 0) {
			if (leaf)
				execl(self, self, "leaf", NULL);
			_exit(leaf);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			die("fork");
		forks++;
		execs += leaf;
	}
	printf("%ld %ld\n", forks, execs);
	return 0;
}

static void *stay(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void threads(int n)
{
	pthread_attr_t attr;
	pthread_t id;

	if (pthread_attr_init(&attr) || pthread_attr_setstacksize(&attr, 32 << 10))
		die("pthread_attr");
	for (int i = 1; i < n; i++) /* and this one */
		if (pthread_create(&id, &attr, stay, NULL))
			die("pthread_create");
}

static int tasks(int n)
{
	const int most = 500;
	int up[2];
	char c = 0;

	for (; n > 0; n -= most) {
		pid_t pid;

		if (pipe(up))
			die("pipe");
		pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, 9);
			threads(n < most ? n : most);
			if (write(up[1], &c, 1) != 1)
				die("write");
			stay(NULL);
		}
		close(up[1]);
		if (read(up[0], &c, 1) != 1)
			die("read");
		close(up[0]);
	}
	puts("up");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	while (wait(NULL) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "storm"))
		return storm(argv[0]);
	if (argc > 2 && !strcmp(argv[1], "tasks"))
		return setpgid(0, 0) || tasks(atoi(argv[2]));
	return !(argc > 1 && !strcmp(argv[1], "leaf"));
}
