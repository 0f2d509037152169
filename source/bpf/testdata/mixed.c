/*
 * A load of processes and threads whose real user ids change at random.
 *
 *	mixed SEED DEPTH
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long state;

static unsigned pick(unsigned n)
{
	state = state * 6364136223846793005ul + 1442695040888963407ul;
	return (state >> 33) % n;
}

static const uid_t uids[] = {0, 4242, 4243};

/* Of one thread: libc would change all. */
static void change(void)
{
	if (syscall(SYS_setresuid, uids[pick(3)], 0, 0))
		exit(2);
}

static void *thread(void *arg)
{
	if (arg)
		syscall(SYS_setresuid, 4242, 0, 0);
	return NULL;
}

static void again(int depth)
{
	char seed[24], deep[12];

	snprintf(seed, sizeof(seed), "%u", pick(1 << 30));
	snprintf(deep, sizeof(deep), "%d", depth);
	execl("/proc/self/exe", "mixed", seed, deep, (char *)NULL);
	_exit(3);
}

static void steps(int depth)
{
	static const char *const dirs[] = {"/", "/tmp", "/usr"};
	pthread_t t;
	pid_t pid;

	for (int n = pick(6) + 2; n > 0; n--) {
		switch (pick(6)) {
		case 0:
			change();
			break;
		case 1:
			if (chdir(dirs[pick(3)]))
				exit(2);
			break;
		case 2:
			if (pthread_create(&t, NULL, thread, pick(2) ? &t : NULL) || pthread_join(t, NULL))
				exit(2);
			break;
		case 3:
			if (syscall(SYS_setresgid, pick(3), -1, -1))
				exit(2);
			break;
		default:
			if (depth == 0)
				break;
			pid = fork();
			if (pid == 0) {
				state ^= n * 7919 + depth;
				if (pick(2))
					again(depth - 1);
				steps(depth - 1);
				exit(pick(4));
			}
			waitpid(pid, NULL, 0);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	state = strtoul(argv[1], NULL, 10);
	steps(atoi(argv[2]));
	return pick(4);
}
