/*
 * A load of processes and threads whose real user ids, names and programs change
 * at random, and cgroups, if there are some. A program that is set-user-ID may be
 * one of the programs.
 *
 *	mixed SEED DEPTH [SET-USER-ID-COPY [CGROUP...]]
 *
 * MIXED is a path of this program in the environment: no other load has its name.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned long state;
static char **programs; /* the set-user-ID copy, and then the cgroups */
static int cgroups;

static unsigned pick(unsigned n)
{
	state = state * 6364136223846793005ul + 1442695040888963407ul;
	return (state >> 33) % n;
}

static const uid_t uids[] = {0, 52417, 52418};

/* Of one thread: libc would change all. */
static void change(void)
{
	if (syscall(SYS_setresuid, uids[pick(3)], 0, 0))
		exit(2);
}

static void *thread(void *arg)
{
	if (arg) {
		prctl(PR_SET_NAME, "alpha");
		syscall(SYS_setresuid, 52417, 0, 0);
	}
	return NULL;
}

static void again(int depth)
{
	char seed[24], deep[12];
	const char *program = *programs && pick(3) == 0 ? *programs : getenv("MIXED");

	snprintf(seed, sizeof(seed), "%u", pick(1 << 30));
	snprintf(deep, sizeof(deep), "%d", depth);
	programs[-1] = deep;
	programs[-2] = seed;
	programs[-3] = "mixed";
	execv(program, programs - 3);
	_exit(3);
}

static void name(void)
{
	static const char *const names[] = {"alpha", "beta", "alphabetical or", ""};

	prctl(PR_SET_NAME, names[pick(4)]);
}

/* The process, which its user may not be allowed to. */
static void move(void)
{
	char file[4096];
	int fd;

	if (!cgroups)
		return;
	snprintf(file, sizeof(file), "%s/cgroup.procs", programs[1 + pick(cgroups)]);
	fd = open(file, O_WRONLY);
	if (fd < 0)
		return;
	if (write(fd, "0", 1) < 0)
		exit(4);
	close(fd);
}

static void steps(int depth)
{
	static const char *const dirs[] = {"/", "/tmp", "/usr"};
	pthread_t t;
	pid_t pid;

	for (int n = pick(6) + 2; n > 0; n--) {
		switch (pick(9)) {
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
		case 4:
			name();
			break;
		case 5:
			move();
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
	programs = argv + 3;
	cgroups = argc > 4 ? argc - 4 : 0;
	state = strtoul(argv[1], NULL, 10);
	steps(atoi(argv[2]));
	return pick(4);
}
