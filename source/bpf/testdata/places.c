/*
 * A process whose working directory is another one at each of its events: "a" when
 * it is made, "b" when its ids change and it runs this program again, "c" at its end.
 *
 *	places DIR
 *	places DIR last
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void go(const char *dir, const char *name)
{
	if (chdir(dir) || chdir(name)) {
		perror(name);
		exit(2);
	}
}

static int child(const char *dir)
{
	go(dir, "b");
	if (setresgid(-1, 7, 7) || setresuid(8, -1, -1))
		return 3;
	execl("/proc/self/exe", "places", dir, "last", (char *)NULL);
	return 4;
}

/* Returns what the child returns. */
static int make(int (*run)(const char *), const char *dir)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		exit(run(dir));
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 5;
}

static int parent(const char *dir)
{
	go(dir, "a");
	return make(child, dir);
}

int main(int argc, char **argv)
{
	if (argc > 2) {
		go(argv[1], "c");
		return 0;
	}
	return make(parent, argv[1]);
}
