/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * bomb N [M [WAY]]: tries N forks whose children all live at the same time, after the
 * first M of them from a new user namespace. WAY is another way:
 *
 *	thread  threads in place of processes
 *	cgroup  by clone3, into the cgroup that the descriptor 3 is open for
 *	deeper  the first 20 each from a new namespace inside of the one before
 *	apart   each into a namespace of its own, by clone
 *	pids    each with the number that it asks for, in a namespace of process ids
 *	ids     each by another user of the namespace; it writes a line when it waits for
 *	        a byte, before which it gets the users 1 to N
 *	storm   by eight processes at once, and each child ends soon; it says how many
 *	        children there were at once, besides
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_here[2];

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static void live(void)
{
	char c;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(wait_here[1]);
	_exit(read(wait_here[0], &c, 1) != 0);
}

static void *live_as_thread(void *arg)
{
	pause();
	return arg;
}

/* made - whether there is one task more, after so many; else errno says why not */
static int made(const char *way, int before)
{
	pid_t pid;

	if (!strcmp(way, "thread")) {
		pthread_t t;

		errno = pthread_create(&t, NULL, live_as_thread, NULL);
		return !errno;
	}
	if (!strcmp(way, "cgroup")) {
		unsigned long long a[11] = { [0] = 0x200000000ull /* CLONE_INTO_CGROUP */, [4] = SIGCHLD, [10] = 3 };

		pid = syscall(435 /* clone3 */, a, sizeof(a));
	} else if (!strcmp(way, "pids")) {
		int want = before + 1; /* the first one is their init */
		unsigned long long a[10] = { [4] = SIGCHLD, [8] = (unsigned long)&want, [9] = 1 };

		pid = syscall(435 /* clone3 */, a, sizeof(a));
	} else if (!strcmp(way, "apart")) {
		pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	} else {
		pid = fork();
	}
	if (!pid)
		live();
	return pid > 0;
}

static void map(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail(file);
	close(fd);
}

/* deeper - into a namespace where this user is root, who may make the next */
static void deeper(void)
{
	int uid = geteuid(), gid = getegid();
	char text[32];

	if (unshare(CLONE_NEWUSER))
		fail("unshare");
	map("/proc/self/setgroups", "deny");
	snprintf(text, sizeof(text), "0 %d 1", uid);
	map("/proc/self/uid_map", text);
	snprintf(text, sizeof(text), "0 %d 1", gid);
	map("/proc/self/gid_map", text);
}

static void get_users(void)
{
	char c;

	if (unshare(CLONE_NEWUSER) || write(1, "\n", 1) != 1 || read(0, &c, 1) != 1)
		fail("a namespace with users");
	if (setresuid(0, 0, 0) || prctl(PR_SET_SECUREBITS, 1 << 2 /* SECBIT_NO_SETUID_FIXUP: keep the capabilities */))
		fail("the first of its users");
}

#define STORM 8 /* processes */

static volatile struct {
	int now, most, over, forks, refused, errno_;
} *seen;

static void one_of_storm(int n, int begin)
{
	char c;

	/* When all are there: the others could leave no room for the last. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || read(begin, &c, 1))
		_exit(2);
	while (n--) {
		pid_t pid = fork();

		if (!pid) {
			int now = __sync_add_and_fetch(&seen->now, 1), most;

			while (now > (most = seen->most))
				__sync_val_compare_and_swap(&seen->most, most, now);
			usleep(200000);
			__sync_fetch_and_sub(&seen->now, 1);
			_exit(0);
		}
		if (pid < 0) {
			seen->errno_ = errno;
			__sync_fetch_and_add(&seen->refused, 1);
			usleep(10000);
		} else {
			__sync_fetch_and_add(&seen->forks, 1);
		}
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
	while (wait(NULL) > 0)
		;
	/* All eight count until the last one has forked. */
	__sync_fetch_and_add(&seen->over, 1);
	while (seen->over < STORM)
		usleep(10000);
	_exit(0);
}

static int storm(int n)
{
	int begin[2];

	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (seen == MAP_FAILED || pipe(begin))
		fail("storm");
	for (int i = 0; i < STORM; i++) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (!pid) {
			close(begin[1]);
			one_of_storm(n / STORM, begin[0]);
		}
	}
	close(begin[1]);
	while (wait(NULL) > 0)
		;
	printf("%d forks, %d refused with errno %d, %d at once\n", seen->forks, seen->refused, seen->errno_, seen->most);
	return 0;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0, away = argc > 2 ? atoi(argv[2]) : -1, forks = 0, refused = 0, err = 0;
	const char *way = argc > 3 ? argv[3] : "";

	if (!strcmp(way, "storm"))
		return storm(n);
	if (!strcmp(way, "ids"))
		get_users();
	if (!strcmp(way, "pids") && unshare(CLONE_NEWUSER | CLONE_NEWPID))
		fail("unshare");
	if (pipe(wait_here))
		return 2;
	while (forks + refused < n) {
		int tried = forks + refused;

		if (tried == away && unshare(CLONE_NEWUSER))
			fail("unshare");
		if (!strcmp(way, "deeper") && tried < 20)
			deeper();
		if (!strcmp(way, "ids") && setresuid(tried + 1, tried + 1, tried + 1))
			fail("setresuid");
		if (made(way, forks)) {
			forks++;
		} else {
			err = errno;
			refused++;
		}
	}
	printf("%d forks, %d refused with errno %d\n", forks, refused, err);
	fflush(stdout);
	if (!strcmp(way, "thread"))
		_exit(0); /* and they with it */
	close(wait_here[1]);
	while (wait(NULL) > 0)
		;
	return 0;
}
