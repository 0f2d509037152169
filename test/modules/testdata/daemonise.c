/* Becomes a daemon as such programs do: forks twice, leads a session, drops its
 * environment, closes its files, and runs a program, which waits for a file to come,
 * or for the file's directory to go, and ends. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char *none[] = { NULL };

	if (argc == 3 && !strcmp(argv[1], "wait")) {
		char dir[4096];

		snprintf(dir, sizeof dir, "%s", argv[2]);
		*strrchr(dir, '/') = 0;
		while (access(argv[2], F_OK) && !access(dir, F_OK))
			usleep(1000);
		return 0;
	}
	if (argc != 3)
		return 2;
	if (fork())
		return 0;
	setsid();
	if (fork())
		return 0;
	if (chdir("/"))
		return 3;
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	char pid[32];
	int n = snprintf(pid, sizeof pid, "%d\n", getpid());
	int fd = open(argv[1], O_WRONLY | O_CREAT, 0600);
	char *args[] = { argv[0], "wait", argv[2], NULL };
	if (fd < 0 || write(fd, pid, n) != n || close(fd))
		return 4;
	execve("/proc/self/exe", args, none);
	return 5;
}
