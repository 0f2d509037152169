// SPDX-License-Identifier: Apache-2.0
//
// workload does a known number of things to tasks and writes on stdout, one
// JSON object a line, what it really did. The conformance suite compares that
// truth with the events of a source. Strings are hex, so that any byte can
// stand in them.
//
//   workload CASE [ARG...]
//
// Every task reports itself: its clone as the first thing it does, its exit as
// the last thing before it. What a task cannot say itself (a signal killed it)
// its parent reports. Each line is one write(2) to a file opened with
// O_APPEND, so lines of different tasks never mix.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long u64;

// The clone flags whose value is known whatever the C library adds.
#define KNOWN (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_VFORK)
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define ALL (~(u64)0xff) // every flag; the low byte is the exit signal

static char self[4096]; // absolute path of this program

// Facts.

static void emit(const char *fmt, ...)
{
	char b[1500];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(b, sizeof(b) - 1, fmt, ap);
	va_end(ap);
	b[n++] = '\n';
	if (write(1, b, n) != n)
		_exit(99);
}

// die ends the whole process: the workload could not do what it should.
static _Noreturn void die(const char *what)
{
	int e = errno;
	emit("{\"fact\":\"error\",\"key\":\"%s\",\"value\":%d}", what, e);
	_exit(99);
}

// note reports something the program saw that must be the same with and
// without a watcher.
static void note(const char *key, long value)
{
	emit("{\"fact\":\"note\",\"key\":\"%s\",\"value\":%ld}", key, value);
}

static long read_file(const char *path, char *b, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		die(path);
	size_t n = 0;
	for (;;) {
		ssize_t k = read(fd, b + n, size - 1 - n);
		if (k < 0)
			die(path);
		if (k == 0)
			break;
		n += k;
	}
	close(fd);
	b[n] = 0;
	return n;
}

struct ids {
	unsigned u[4], g[4];
};

// ids_of reads the ids of one task; /proc costs no set*id system call.
static struct ids ids_of(pid_t tid)
{
	char path[64], b[8192];
	struct ids ids;
	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	read_file(path, b, sizeof(b));
	char *u = strstr(b, "\nUid:"), *g = strstr(b, "\nGid:");
	if (!u || sscanf(u + 5, "%u %u %u %u", ids.u, ids.u + 1, ids.u + 2, ids.u + 3) != 4 ||
	    !g || sscanf(g + 5, "%u %u %u %u", ids.g, ids.g + 1, ids.g + 2, ids.g + 3) != 4)
		die("status");
	return ids;
}

static void fact_ids(pid_t tid, struct ids o, struct ids n, const char *cause)
{
	for (int gid = 0; gid < 2; gid++) {
		unsigned *a = gid ? o.g : o.u, *b = gid ? n.g : n.u;
		if (memcmp(a, b, sizeof(o.u)))
			emit("{\"fact\":\"%s\",\"tid\":%d,\"old\":[%u,%u,%u,%u],\"new\":[%u,%u,%u,%u],\"cause\":\"%s\"}",
			     gid ? "gid" : "uid", tid, a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], cause);
	}
}

static void fact_groups(pid_t tid, struct ids ids)
{
	unsigned *g = ids.g;
	emit("{\"fact\":\"gid\",\"tid\":%d,\"old\":[%u,%u,%u,%u],\"new\":[%u,%u,%u,%u],\"cause\":\"setgroups\"}",
	     tid, g[0], g[1], g[2], g[3], g[0], g[1], g[2], g[3]);
}

// fact_clone reports the calling task. by is the task that made it.
static void fact_clone(pid_t by, pid_t ppid, u64 flags, u64 known)
{
	char b[1024];
	u64 start = 0;
	read_file("/proc/thread-self/stat", b, sizeof(b));
	char *p = strrchr(b, ')');
	// Field 22; the text behind the name starts with field 3.
	if (!p || sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &start) != 1)
		die("stat");
	emit("{\"fact\":\"clone\",\"pid\":%d,\"tid\":%d,\"ppid\":%d,\"by\":%d,\"flags\":%llu,\"known\":%llu,\"start_ticks\":%llu}",
	     getpid(), gettid(), ppid, by, flags, known, start);
}

// fact_failed reports a fork that failed; late says that the kernel had
// already made the new task when it failed.
static void fact_failed(int late)
{
	emit("{\"fact\":\"failed\",\"by\":%d,\"late\":%s}", gettid(), late ? "true" : "false");
}

enum fate { GOES_ON, ENDS, TOGETHER }; // the process: goes on, ends with this task, ends with several at once

static void fact_exit(pid_t tid, int status, enum fate fate)
{
	static const char *const names[] = { "goes on", "ends", "together" };
	emit("{\"fact\":\"exit\",\"tid\":%d,\"status\":%d,\"group\":\"%s\",\"ppid\":%d}", tid, status, names[fate],
	     tid == getpid() ? getppid() : 0);
}

static _Noreturn void leave(int code)
{
	fact_exit(gettid(), code << 8, ENDS);
	_exit(code);
}

static char *put_hex(char *p, const char *s)
{
	for (; *s; s++) {
		*p++ = "0123456789abcdef"[(unsigned char)*s >> 4];
		*p++ = "0123456789abcdef"[*s & 15];
	}
	return p;
}

// fact_exec reports that this program was started, with what it sees of
// itself. What only the replaced program knew comes in the environment.
static void fact_exec(int argc, char **argv)
{
	static char b[1 << 20];
	char cwd[4096], comm[64], *p = b;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0 || !getcwd(cwd, sizeof(cwd)))
		die("exe or cwd");
	comm[read_file("/proc/self/comm", comm, sizeof(comm)) - 1] = 0; // without the newline
	struct ids now = ids_of(gettid());

	const char *env = getenv("WL_CLONE");
	int by, ppid;
	u64 flags, known;
	if (env && sscanf(env, "%d,%d,%llu,%llu", &by, &ppid, &flags, &known) == 4)
		fact_clone(by, ppid, flags, known);
	env = getenv("WL_IDS");
	struct ids old;
	if (env && sscanf(env, "%u,%u,%u,%u,%u,%u,%u,%u", old.u, old.u + 1, old.u + 2, old.u + 3,
			  old.g, old.g + 1, old.g + 2, old.g + 3) == 8)
		fact_ids(gettid(), old, now, "exec");

	env = getenv("WL_FROM_TID");
	p += sprintf(p, "{\"fact\":\"exec\",\"pid\":%d,\"tid\":%d,\"from_tid\":%d,\"ppid\":%d,", getpid(), gettid(),
		     env ? atoi(env) : gettid(), getppid());
	p += sprintf(p, "\"uid\":[%u,%u,%u,%u],\"gid\":[%u,%u,%u,%u],\"exe\":\"", now.u[0], now.u[1], now.u[2], now.u[3],
		     now.g[0], now.g[1], now.g[2], now.g[3]);
	p = put_hex(p, self);
	p = put_hex(stpcpy(p, "\",\"comm\":\""), comm);
	p = put_hex(stpcpy(p, "\",\"cwd\":\""), cwd);
	env = getenv("WL_EXE");
	p = put_hex(stpcpy(p, "\",\"old_exe\":\""), env ? env : "");
	p = stpcpy(p, "\",\"argv\":[");
	for (int i = 0; i < argc; i++) {
		p = put_hex(stpcpy(p, i ? ",\"" : "\""), argv[i]);
		*p++ = '"';
	}
	p = stpcpy(p, "]}\n");
	if (write(1, b, p - b) != p - b)
		_exit(99);
}

// Making tasks.

static int reap(pid_t pid)
{
	int status;
	pid_t got;
	while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		;
	if (got <= 0 || (pid > 0 && got != pid))
		die("waitpid");
	return status;
}

// forked is fork; the child has reported itself when it returns.
static pid_t forked(void)
{
	pid_t by = gettid(), ppid = getpid(), pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		fact_clone(by, ppid, 0, KNOWN);
	return pid;
}

// environment returns the environment for a program run as the given case.
// by is the creator if the new program has to report its own clone.
static char **environment(const char *name, pid_t by, u64 flags, u64 known)
{
	char **env = calloc(8, sizeof(*env));
	struct ids i = ids_of(gettid());
	int n = 0;
	if (asprintf(&env[n++], "WL_CASE=%s", name) < 0 || asprintf(&env[n++], "WL_EXE=%s", self) < 0 ||
	    asprintf(&env[n++], "WL_FROM_TID=%d", by ? 0 : gettid()) < 0 ||
	    asprintf(&env[n++], "WL_IDS=%u,%u,%u,%u,%u,%u,%u,%u", i.u[0], i.u[1], i.u[2], i.u[3], i.g[0], i.g[1], i.g[2],
		     i.g[3]) < 0)
		die("asprintf");
	if (by && asprintf(&env[n++], "WL_CLONE=%d,%d,%llu,%llu", by, getpid(), flags, known) < 0)
		die("asprintf");
	if (by) // the child execs, and its tid is not known yet
		env[2] = "WL_NONE=";
	// By this one the tests find what they left behind.
	const char *run = getenv("TASKWATCH_TEST_RUN");
	if (run && asprintf(&env[n++], "TASKWATCH_TEST_RUN=%s", run) < 0)
		die("asprintf");
	return env;
}

static char *true_argv[] = { "true", "of", "workload", NULL };

// exec_true replaces this program with itself, which exits at once.
static _Noreturn void exec_true(char **argv)
{
	char **env = environment("true", 0, 0, 0);
	execve(self, argv, env);
	die("execve");
}

struct member {
	pthread_t thread;
	pid_t by, tid;
	pthread_barrier_t *ready; // passed by every member and their maker
	int code;		  // < 0: stays until it is killed
};

// joined waits for the end of a thread. pthread_join returns in the middle of
// the thread's exit: before Linux 6.16, ahead of what the kernel says of it, and
// its process might end first. So wait until the kernel has no such thread.
static void joined(pthread_t thread, const pid_t *tid)
{
	int before = errno; // which tells how an operation went
	if ((errno = pthread_join(thread, NULL)))
		die("pthread_join");
	while (syscall(SYS_tgkill, getpid(), *tid, 0) == 0)
		usleep(100);
	errno = before;
}

static void *member_main(void *arg)
{
	struct member *m = arg;
	m->tid = gettid();
	fact_clone(m->by, getppid(), THREAD, KNOWN);
	if (m->ready)
		pthread_barrier_wait(m->ready);
	while (m->code < 0)
		pause();
	fact_exit(gettid(), m->code << 8, GOES_ON);
	syscall(SYS_exit, m->code);
	return NULL;
}

// start_members starts n threads that stay, and returns when all have
// reported themselves.
static void start_members(struct member *m, int n)
{
	pthread_barrier_t *ready = malloc(sizeof(*ready));
	pthread_barrier_init(ready, NULL, n + 1);
	for (int i = 0; i < n; i++) {
		m[i] = (struct member){ .by = gettid(), .ready = ready, .code = -1 };
		if ((errno = pthread_create(&m[i].thread, NULL, member_main, &m[i])))
			die("pthread_create");
	}
	pthread_barrier_wait(ready);
}

// leave_with ends a process whose other threads are alive.
static _Noreturn void leave_with(struct member *m, int n, int code)
{
	for (int i = 0; i < n; i++)
		fact_exit(m[i].tid, code << 8, TOGETHER);
	fact_exit(gettid(), code << 8, TOGETHER);
	_exit(code);
}

// The cases. main's caller leaves with what they return.

static int do_fork(int n)
{
	for (int i = 0; i < n; i++)
		if (forked() == 0)
			leave(i % 256);
	for (int i = 0; i < n; i++)
		reap(-1);
	return 0;
}

static int do_exec(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t pid = forked();
		if (pid == 0)
			exec_true(true_argv);
		note("exec.status", reap(pid));
	}
	return 0;
}

static int do_argv(void)
{
	static char big[100 * 1024 + 1];
	memset(big, 'x', sizeof(big) - 1);
	static char *many[1001];
	for (int i = 0; i < 1000; i++)
		if (asprintf(&many[i], "%d", i) < 0)
			die("asprintf");
	char *lists[][8] = {
		{ "", "", "", NULL },
		{ "true", "line\nline", "tab\t", "quote\"back\\slash", "\x01\x7f", NULL },
		{ "\xff\xfe", "\xc3", "h\xc3\xa9", "\xed\xa0\x80", NULL },
		{ "big", big, "behind", NULL },
		{ NULL }, // the kernel, since 5.18, makes one empty argument of it
	};
	for (unsigned i = 0; i <= sizeof(lists) / sizeof(*lists); i++) {
		pid_t pid = forked();
		if (pid == 0)
			exec_true(i < sizeof(lists) / sizeof(*lists) ? lists[i] : many);
		note("argv.status", reap(pid));
	}
	return 0;
}

// do_cwd changes the directory before the exec, and the program's path is
// relative to it.
static int do_cwd(void)
{
	if (mkdir("sub dir", 0755) || symlink(self, "sub dir/li nk"))
		die("mkdir or symlink");
	pid_t pid = forked();
	if (pid == 0) {
		char **env = environment("true", 0, 0, 0);
		if (chdir("sub dir"))
			die("chdir");
		execve("./li nk", true_argv, env);
		die("execve");
	}
	note("cwd.status", reap(pid));
	return 0;
}

static int do_thread(int n)
{
	struct member *m = calloc(n, sizeof(*m));
	for (int i = 0; i < n; i++) {
		m[i] = (struct member){ .by = gettid(), .code = i % 256 };
		if ((errno = pthread_create(&m[i].thread, NULL, member_main, &m[i])))
			die("pthread_create");
	}
	for (int i = 0; i < n; i++)
		joined(m[i].thread, &m[i].tid);
	return 0;
}

static int do_vfork(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t by = gettid(), ppid = getpid();
		char **env = environment("true", by, CLONE_VM | CLONE_VFORK, ALL);
		pid_t pid = vfork();
		if (pid < 0)
			die("vfork");
		if (pid == 0) {
			if (i % 2 == 0) {
				execve(self, true_argv, env);
				_exit(98);
			}
			fact_clone(by, ppid, CLONE_VM | CLONE_VFORK, ALL);
			fact_exit(gettid(), 5 << 8, ENDS);
			_exit(5);
		}
		note("vfork.status", reap(pid));
	}
	return 0;
}

static int do_posix_spawn(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t pid;
		errno = posix_spawn(&pid, self, NULL, NULL, true_argv, environment("true", gettid(), 0, CLONE_THREAD));
		if (errno)
			die("posix_spawn");
		note("posix_spawn.status", reap(pid));
	}
	return 0;
}

static pid_t clone3(struct clone_args *args)
{
	return syscall(SYS_clone3, args, sizeof(*args));
}

static int do_clone3(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t by = gettid(), ppid = getpid();
		u64 flags = i % 2 ? CLONE_FS | CLONE_FILES : 0;
		struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
		pid_t pid = clone3(&args);
		if (pid < 0)
			die("clone3");
		if (pid == 0) {
			fact_clone(by, ppid, flags, ALL);
			leave(3);
		}
		note("clone3.status", reap(pid));
	}
	return 0;
}

struct maker {
	pid_t by, ppid;
	u64 flags;
	pid_t tid; // of a thread, set by itself
};

static int cloned(void *arg)
{
	struct maker *m = arg;
	fact_clone(m->by, m->ppid, m->flags, ALL);
	leave(4);
}

static int do_clone_vm(int n)
{
	static const u64 flags[] = { CLONE_VM, CLONE_VM | CLONE_SIGHAND, CLONE_FILES | CLONE_FS };
	for (int i = 0; i < n; i++) {
		struct maker m = { gettid(), getpid(), flags[i % 3] };
		char *stack = malloc(256 << 10);
		pid_t pid = clone(cloned, stack + (256 << 10), m.flags | SIGCHLD, &m);
		if (pid < 0)
			die("clone");
		note("clone.status", reap(pid));
		free(stack);
	}
	return 0;
}

// do_clone_parent makes a sibling instead of a child, and a child whose exit
// signal is not SIGCHLD.
static int do_clone_parent(void)
{
	pid_t middle = forked();
	if (middle == 0) {
		struct maker m = { gettid(), getppid(), CLONE_PARENT };
		char *stack = malloc(256 << 10);
		if (clone(cloned, stack + (256 << 10), CLONE_PARENT | SIGCHLD, &m) < 0)
			die("clone");
		leave(0);
	}
	reap(-1);
	reap(-1);
	struct maker m = { gettid(), getpid(), 0 };
	char *stack = malloc(256 << 10);
	pid_t pid = clone(cloned, stack + (256 << 10), 0, &m);
	int status;
	if (pid < 0 || waitpid(pid, &status, __WCLONE) != pid)
		die("clone without a signal");
	note("clone.nosignal", status);
	return 0;
}

static void *exec_main(void *arg)
{
	struct member *m = arg;
	fact_clone(m[0].by, getppid(), THREAD, KNOWN);
	// All others die of the exec, with status 0, and the process goes on.
	for (int i = 1; i <= 2; i++)
		fact_exit(m[i].tid, 0, GOES_ON);
	fact_exit(getpid(), 0, GOES_ON);
	exec_true(true_argv);
}

// exec_from_thread never returns: the thread's exec replaces the program.
static _Noreturn void exec_from_thread(void)
{
	struct member m[3];
	start_members(m + 1, 2);
	m[0] = (struct member){ .by = gettid() };
	if ((errno = pthread_create(&m[0].thread, NULL, exec_main, m)))
		die("pthread_create");
	for (;;)
		pause();
}

static int do_exec_thread(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t pid = forked();
		if (pid == 0)
			exec_from_thread();
		note("exec_thread.status", reap(pid));
	}
	exec_from_thread(); // and the command itself
}

static void make_file(const char *name, const char *text, int mode)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fchmod(fd, mode) || close(fd))
		die(name);
}

// do_exec_fail tries programs that cannot run: no event must come of it, and
// every errno must be the kernel's.
static int do_exec_fail(void)
{
	char **env = environment("true", 0, 0, 0);
	make_file("plain", "not a program\n", 0644);
	make_file("garbage", "\x01\x02\x03\x04", 0755);
	make_file("lost", "#!/nonexistent/interpreter\n", 0755);
	pid_t pid = forked();
	if (pid == 0) {
		const char *paths[] = { "nonexistent", "plain", "garbage", "lost", "plain/below", ".", "" };
		for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
			execve(paths[i], true_argv, env);
			note("exec_fail.errno", errno);
		}
		volatile long bad = 8;
		execve((char *)bad, true_argv, env);
		note("exec_fail.path", errno);
		execve(self, (char **)bad, env);
		note("exec_fail.argv", errno);
		execve(self, true_argv, (char **)bad);
		note("exec_fail.env", errno);
		leave(6);
	}
	note("exec_fail.status", reap(pid));
	return 0;
}

static int do_script(void)
{
	char text[5000];
	snprintf(text, sizeof(text), "#! %s true\n", self);
	make_file("script", text, 0755);
	make_file("nested", "#!./script one two\n", 0755);
	const char *paths[] = { "./script", "./nested" };
	for (int i = 0; i < 2; i++) {
		pid_t pid = forked();
		if (pid == 0) {
			execve(paths[i], true_argv, environment("true", 0, 0, 0));
			die("execve");
		}
		note("script.status", reap(pid));
	}
	return 0;
}

// execveat with a descriptor and no path: the program has no name to look up.
static int do_execveat(void)
{
	pid_t pid = forked();
	if (pid == 0) {
		int fd = open(self, O_PATH | O_CLOEXEC);
		if (fd < 0)
			die("open");
		syscall(SYS_execveat, fd, "", true_argv, environment("true", 0, 0, 0), AT_EMPTY_PATH);
		die("execveat");
	}
	note("execveat.status", reap(pid));
	return 0;
}

// forked_and_reported is forked for a parent that ends before its child: it
// returns once the child has reported itself.
static pid_t forked_and_reported(void)
{
	int said[2];
	char c;
	if (pipe2(said, O_CLOEXEC))
		die("pipe");
	pid_t pid = forked();
	close(said[pid == 0 ? 0 : 1]);
	if (pid != 0 && read(said[0], &c, 1) != 1)
		die("read");
	if (pid == 0 && write(said[1], "x", 1) != 1)
		die("write");
	close(said[pid == 0 ? 1 : 0]);
	return pid;
}

static void wait_for_new_parent(pid_t old)
{
	while (getppid() == old)
		usleep(1000);
}

static int do_daemon(void)
{
	pid_t pid = forked();
	if (pid == 0) {
		if (setsid() < 0)
			die("setsid");
		pid_t middle = getpid();
		if (forked_and_reported() == 0) {
			wait_for_new_parent(middle);
			leave(8);
		}
		leave(0);
	}
	note("daemon.status", reap(pid));
	return 0;
}

// do_orphan ends while a descendant runs, which then starts one of its own.
static int do_orphan(void)
{
	pid_t root = getpid();
	if (forked_and_reported() == 0) {
		wait_for_new_parent(root);
		pid_t pid = forked();
		if (pid == 0)
			exec_true(true_argv);
		note("orphan.status", reap(pid));
		leave(9);
	}
	return 2;
}

// do_zombie leaves children that nobody waits for until the command ends.
static int do_zombie(int n)
{
	for (int i = 0; i < n; i++) {
		siginfo_t info;
		pid_t pid = forked();
		if (pid == 0)
			leave(1);
		if (waitid(P_PID, pid, &info, WEXITED | WNOWAIT))
			die("waitid");
	}
	return 0;
}

// do_autoreap ignores SIGCHLD, so that the kernel frees children by itself.
static int do_autoreap(int n)
{
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < n; i++)
		if (forked() == 0)
			leave(1);
	note("autoreap.wait", waitpid(-1, NULL, 0)); // returns once all are gone
	note("autoreap.errno", errno);
	return 0;
}

static int do_killed(void)
{
	static const int sigs[] = { SIGKILL, SIGTERM, SIGSEGV, SIGABRT, SIGTRAP, SIGSYS, SIGUSR1, SIGSEGV };
	for (unsigned i = 0; i < sizeof(sigs) / sizeof(*sigs); i++) {
		pid_t pid = forked();
		if (pid == 0) {
			struct rlimit rl;
			getrlimit(RLIMIT_CORE, &rl);
			rl.rlim_cur = i % 2 ? 0 : rl.rlim_max; // with and without a core dump
			setrlimit(RLIMIT_CORE, &rl);
			if (i == 7) // a real fault instead of kill
				*(volatile int *)8 = 0;
			for (;;) {
				kill(getpid(), sigs[i]);
				pause();
			}
		}
		int status = reap(pid);
		fact_exit(pid, status, ENDS);
		note("killed.status", status);
	}
	return 0;
}

// do_kill_threads kills a process of several threads from outside.
static int do_kill_threads(void)
{
	pid_t *tids = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ready[2];
	if (tids == MAP_FAILED || pipe2(ready, O_CLOEXEC))
		die("mmap or pipe");
	pid_t pid = forked();
	if (pid == 0) {
		struct member m[3];
		start_members(m, 3);
		for (int i = 0; i < 3; i++)
			tids[i] = m[i].tid;
		if (write(ready[1], "x", 1) != 1)
			die("write");
		for (;;)
			pause();
	}
	char c;
	if (read(ready[0], &c, 1) != 1 || kill(pid, SIGKILL))
		die("kill");
	int status = reap(pid);
	for (int i = 0; i < 3; i++)
		fact_exit(tids[i], status, TOGETHER);
	fact_exit(pid, status, TOGETHER);
	note("kill_threads.status", status);
	return 0;
}

static _Noreturn void do_suicide(int sig)
{
	fact_exit(gettid(), sig, ENDS);
	struct rlimit rl = { 0, 0 };
	setrlimit(RLIMIT_CORE, &rl);
	signal(sig, SIG_DFL);
	kill(getpid(), sig);
	for (;;)
		pause();
}

static void *group_main(void *arg)
{
	struct member *m = arg;
	pthread_barrier_wait(m[0].ready); // its maker's call has returned
	fact_clone(m[0].by, getppid(), THREAD, KNOWN);
	for (int i = 1; i <= 2; i++)
		fact_exit(m[i].tid, 11 << 8, TOGETHER);
	fact_exit(getpid(), 11 << 8, TOGETHER);
	fact_exit(gettid(), 11 << 8, TOGETHER);
	syscall(SYS_exit_group, 11);
	return NULL;
}

// do_exit_group ends the whole process from a thread that is not the leader.
static int do_exit_group(void)
{
	for (int i = 0; i < 2; i++) {
		pid_t pid = i ? 0 : forked(); // a child first, then the command itself
		if (pid == 0) {
			struct member m[3];
			pthread_barrier_t ready;
			pthread_barrier_init(&ready, NULL, 2);
			start_members(m + 1, 2);
			m[0] = (struct member){ .by = gettid(), .ready = &ready };
			if ((errno = pthread_create(&m[0].thread, NULL, group_main, m)))
				die("pthread_create");
			pthread_barrier_wait(&ready);
			for (;;)
				pause();
		}
		note("exit_group.status", reap(pid));
	}
	return 0;
}

static void *survivor_main(void *arg)
{
	struct member *m = arg;
	fact_clone(m->by, getppid(), THREAD, KNOWN);
	pthread_barrier_wait(m->ready);
	// Wait until the leader is a zombie.
	char path[64], b[1024];
	snprintf(path, sizeof(path), "/proc/%d/stat", getpid());
	do {
		usleep(1000);
		read_file(path, b, sizeof(b));
	} while (strrchr(b, ')')[2] != 'Z');
	// Still a working process: it can fork.
	pid_t pid = forked();
	if (pid == 0)
		exec_true(true_argv);
	note("leader_first.child", reap(pid));
	fact_exit(gettid(), m->code << 8, ENDS);
	syscall(m->code == 13 ? SYS_exit : SYS_exit_group, m->code);
	return NULL;
}

// do_leader_first ends the main thread while another runs on, which then ends
// by exit (the process's status is the leader's) or by exit_group (its own).
static int do_leader_first(void)
{
	for (int i = 0; i < 3; i++) {
		pid_t pid = i == 2 ? 0 : forked();
		if (pid == 0) {
			static struct member m;
			static pthread_barrier_t ready;
			pthread_barrier_init(&ready, NULL, 2);
			m = (struct member){ .by = gettid(), .ready = &ready, .code = i ? 14 : 13 };
			if ((errno = pthread_create(&m.thread, NULL, survivor_main, &m)))
				die("pthread_create");
			pthread_barrier_wait(&ready);
			fact_exit(gettid(), 12 << 8, GOES_ON);
			syscall(SYS_exit, 12);
		}
		note("leader_first.status", reap(pid));
	}
	return 0;
}

// do_stop stops and continues a child as job control does.
static int do_stop(void)
{
	static const int sigs[] = { SIGSTOP, SIGTSTP };
	int status, go[2];
	char c;
	if (pipe2(go, O_CLOEXEC))
		die("pipe");
	pid_t pid = forked();
	if (pid == 0) {
		setpgid(0, 0); // SIGTSTP does not stop a member of an orphaned group
		for (int i = 0; i < 2; i++) {
			raise(sigs[i]);
			if (read(go[0], &c, 1) != 1)
				die("read");
		}
		leave(15);
	}
	for (int i = 0; i < 2; i++) {
		if (waitpid(pid, &status, WUNTRACED) != pid)
			die("waitpid WUNTRACED");
		note("stop.stopped", WIFSTOPPED(status) ? WSTOPSIG(status) : -1);
		if (kill(pid, SIGCONT) || waitpid(pid, &status, WCONTINUED) != pid)
			die("waitpid WCONTINUED");
		note("stop.continued", WIFCONTINUED(status));
		if (write(go[1], "x", 1) != 1)
			die("write");
	}
	note("stop.status", reap(pid));
	return 0;
}

static volatile sig_atomic_t got, got_value, got_code, got_sender;

static void on_signal(int sig, siginfo_t *info, void *ctx)
{
	(void)sig, (void)ctx;
	got++;
	got_value += info->si_value.sival_int;
	got_code = info->si_code;
	got_sender = info->si_pid;
}

// do_signals sends n signals one at a time; the child acknowledges each, and
// reports what its handler was told.
static int do_signals(int n)
{
	int ack[2];
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	if (pipe2(ack, O_CLOEXEC) || sigaction(SIGUSR1, &sa, NULL) || sigaction(SIGCONT, &sa, NULL))
		die("pipe or sigaction");
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGCONT);
	sigprocmask(SIG_BLOCK, &set, &old);
	pid_t pid = forked();
	if (pid == 0) {
		while (got < n) {
			sigsuspend(&old);
			if (write(ack[1], "x", 1) != 1)
				die("write");
		}
		note("signals.count", got);
		note("signals.value", got_value);
		note("signals.code", got_code);
		note("signals.sender", got_sender == getppid());
		leave(0);
	}
	for (int i = 0; i < n; i++) {
		char c;
		if (sigqueue(pid, i % 4 == 3 ? SIGCONT : SIGUSR1, (union sigval){ .sival_int = i }) ||
		    read(ack[0], &c, 1) != 1)
			die("sigqueue or read");
	}
	note("signals.status", reap(pid));
	return 0;
}

// Ids. Each of these starts in a process of its own.

enum { A = 61001, B, C };

static gid_t groups[] = { C, A, B };

static int change_ids(int op)
{
	switch (op) {
	case 0: return setuid(A);
	case 1: return seteuid(A);
	case 2: return setreuid(A, B);
	case 3: return setresuid(A, B, C);
	case 4: return setfsuid(A), 0;
	case 5: return setgid(A);
	case 6: return setegid(A);
	case 7: return setregid(A, B);
	case 8: return setresgid(A, B, C);
	case 9: return setfsgid(A), 0;
	case 10: return setresuid(-1, B, -1);
	case 11: return setresuid(B, -1, -1);
	case 12: return setresuid(-1, -1, C);
	case 13: return seteuid(0);
	case 14: return syscall(SYS_setresuid, A, B, C); // this thread only
	case 15: return syscall(SYS_setresgid, A, B, C);
	case 16: return setgroups(0, NULL);
	case 17: return setuid(getuid());   // from here on, nothing changes
	case 18: return setresuid(-1, -1, -1);
	case 19: return setresgid(getgid(), -1, getegid());
	case 20: return setfsuid(-1), 0;
	case 21: return setegid(getegid());
	case 22: return setgroups(3, groups);
	case 23: return syscall(SYS_setgroups, 2, groups); // this thread only
	case 24: return setgroups(3, (gid_t *)1);
	}
	return -1;
}

// sets_groups tells which of n tasks the call gives another list: the four ids
// stay what they are.
static int sets_groups(int op, int n)
{
	return op == 23 ? 1 : op == 16 || op == 22 || op == 24 ? n : 0;
}

// try_ids changes ids and reports what changed in which of the tasks.
static void try_ids(int op, pid_t *tids, int n)
{
	struct ids old[8], new;
	for (int i = 0; i < n; i++)
		old[i] = ids_of(tids[i]);
	int e = change_ids(op) ? errno : 0;
	for (int i = 0; i < n; i++) {
		new = ids_of(tids[i]);
		fact_ids(tids[i], old[i], new, "syscall");
		if (i < sets_groups(op, n) && !e)
			fact_groups(tids[i], new);
	}
	char key[32];
	snprintf(key, sizeof(key), "ids.%d", op);
	note(key, e);
}

// do_ids_none changes nothing, which anybody may do.
static int do_ids_none(void)
{
	pid_t tid = gettid();
	for (int op = 17; op <= 21; op++)
		try_ids(op, &tid, 1);
	return 0;
}

// do_ids runs sequences of changes, each in a process that starts as root.
static int do_ids(void)
{
	static const int runs[][6] = {
		{ 0, 13, -1 }, // drops root for good: the second fails
		{ 1, 13, 1, 13, -1 },
		{ 2, -1 },
		{ 3, 17, 18, 10, -1 },
		{ 4, 13, -1 },
		{ 5, -1 },
		{ 6, 7, -1 },
		{ 8, 19, 21, -1 },
		{ 9, 6, -1 },
		{ 10, 11, 12, 13, -1 },
		{ 16, 17, 20, 21, -1 },
	};
	for (unsigned i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		pid_t pid = forked();
		if (pid == 0) {
			pid_t tid = gettid();
			for (int k = 0; runs[i][k] >= 0; k++)
				try_ids(runs[i][k], &tid, 1);
			leave(0);
		}
		reap(pid);
	}
	return 0;
}

// do_setgroups sets the supplementary groups: another list, the same one, none,
// one that cannot be read, one of a user who may not; and those of four threads.
static int do_setgroups(void)
{
	static const int ops[] = { 22, 22, 16, 23, 24, 5, 22, 0, 16 }, of_threads[] = { 22, 23 };
	pid_t pid = forked();
	if (pid == 0) {
		pid_t tid = gettid();
		for (unsigned i = 0; i < sizeof(ops) / sizeof(*ops); i++)
			try_ids(ops[i], &tid, 1);
		leave(0);
	}
	reap(pid);
	pid = forked();
	if (pid == 0) {
		struct member m[3];
		start_members(m, 3);
		pid_t tids[4] = { gettid(), m[0].tid, m[1].tid, m[2].tid };
		for (unsigned i = 0; i < 2; i++)
			try_ids(of_threads[i], tids, 4);
		leave_with(m, 3, 0);
	}
	reap(pid);
	return 0;
}

// do_ids_threads changes ids in a process of four threads: the C library's
// functions change all of them, the bare system call only its caller.
static int do_ids_threads(void)
{
	static const int ops[] = { 3, 8, 14, 15 };
	for (unsigned i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		pid_t pid = forked();
		if (pid == 0) {
			struct member m[3];
			start_members(m, 3);
			pid_t tids[4] = { gettid(), m[0].tid, m[1].tid, m[2].tid };
			try_ids(ops[i], tids, 4);
			leave_with(m, 3, 0);
		}
		reap(pid);
	}
	return 0;
}

// copy_self makes a copy of this program in the working directory.
static void copy_self(const char *name, unsigned uid, unsigned gid, int mode)
{
	char b[1 << 16];
	ssize_t n;
	int in = open(self, O_RDONLY | O_CLOEXEC), out = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0700);
	if (in < 0 || out < 0)
		die("open");
	while ((n = read(in, b, sizeof(b))) > 0)
		if (write(out, b, n) != n)
			die("write");
	if (n < 0 || fchown(out, uid, gid) || fchmod(out, mode) || close(out) || close(in))
		die("copy");
}

// do_ids_exec has exec change ids: by a set-id file, and by the rule that the
// saved id becomes the effective one.
static int do_ids_exec(void)
{
	copy_self("setid", A, B, 06755);
	for (int i = 0; i < 3; i++) {
		pid_t pid = forked();
		if (pid == 0) {
			pid_t tid = gettid();
			if (i > 0)
				try_ids(6, &tid, 1), try_ids(1, &tid, 1);
			execve(i == 1 ? self : "./setid", true_argv, environment("true", 0, 0, 0));
			die("execve");
		}
		note("ids_exec.status", reap(pid));
	}
	return 0;
}

// do_fork_fail has the kernel fail to make tasks: before there is one (bad
// flags), and late, when the new task exists but not its pid.
static int do_fork_fail(void)
{
	struct clone_args early = { .flags = CLONE_THREAD, .exit_signal = 0 };
	struct clone_args late = { .flags = CLONE_PIDFD, .pidfd = 8, .exit_signal = SIGCHLD };
	for (int i = 0; i < 3; i++) {
		pid_t pid = clone3(&early);
		note("fork_fail.early", pid < 0 ? errno : 0);
		if (pid < 0)
			fact_failed(0);
		else if (pid == 0)
			_exit(97);
		pid = clone3(&late);
		note("fork_fail.late", pid < 0 ? errno : 0);
		if (pid < 0)
			fact_failed(1);
		else if (pid == 0)
			_exit(97);
		if (forked() == 0) // and one that works
			leave(0);
		reap(-1);
	}
	return 0;
}

// do_pid_reuse makes n processes of the same pid, one after the other.
static int do_pid_reuse(int n)
{
	pid_t pid = forked();
	if (pid == 0)
		leave(0);
	reap(pid);
	for (int i = 0; i < n; i++) {
		pid_t by = gettid(), ppid = getpid(), want = pid;
		struct clone_args args = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&want, .set_tid_size = 1 };
		pid_t got = clone3(&args);
		if (got < 0)
			die("clone3 set_tid");
		if (got == 0) {
			fact_clone(by, ppid, 0, ALL);
			leave(i);
		}
		note("pid_reuse.same", got == want);
		reap(got);
	}
	return 0;
}

// do_many has n processes, or threads, alive at the same time.
static int do_many(int n)
{
	int gate[2];
	char c;
	if (pipe2(gate, O_CLOEXEC))
		die("pipe");
	for (int i = 0; i < n; i++)
		if (forked() == 0) {
			close(gate[1]);
			if (read(gate[0], &c, 1) != 0) // until the last writer is gone
				die("read");
			leave(i % 256);
		}
	close(gate[1]);
	for (int i = 0; i < n; i++)
		reap(-1);
	return 0;
}

static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;

static void *crowd_main(void *arg)
{
	struct member *m = arg;
	m->tid = gettid();
	fact_clone(m->by, getppid(), THREAD, KNOWN);
	pthread_mutex_lock(&door);
	pthread_mutex_unlock(&door);
	fact_exit(gettid(), 0, GOES_ON);
	return NULL;
}

static int do_many_threads(int n)
{
	struct member *m = calloc(n, sizeof(*m));
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	pthread_mutex_lock(&door);
	for (int i = 0; i < n; i++) {
		m[i].by = gettid();
		if ((errno = pthread_create(&m[i].thread, &attr, crowd_main, &m[i])))
			die("pthread_create");
	}
	pthread_mutex_unlock(&door);
	for (int i = 0; i < n; i++)
		joined(m[i].thread, &m[i].tid);
	return 0;
}

// Resource usage.

static long long ns_of(clockid_t clock)
{
	struct timespec ts;
	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

// fact_usage reports what the calling task has used so far, since when it
// lives, and when it looked.
static void fact_usage(long long born)
{
	struct rusage t, p;
	char b[1024], *io;
	u64 rd, wr;
	if (getrusage(RUSAGE_THREAD, &t) || getrusage(RUSAGE_SELF, &p))
		die("getrusage");
	read_file("/proc/thread-self/io", b, sizeof(b));
	if (!(io = strstr(b, "\nread_bytes: ")) || sscanf(io, "\nread_bytes: %llu\nwrite_bytes: %llu", &rd, &wr) != 2)
		die("io");
	long long now = ns_of(CLOCK_MONOTONIC);
	emit("{\"fact\":\"usage\",\"tid\":%d,\"at_ns\":%lld,\"lived_ns\":%lld,\"cpu_ns\":%lld,\"maxrss\":%llu,"
	     "\"minflt\":%ld,\"majflt\":%ld,\"nvcsw\":%ld,\"nivcsw\":%ld,\"read_bytes\":%llu,\"write_bytes\":%llu}",
	     gettid(), now, now - born,
	     (t.ru_utime.tv_sec + t.ru_stime.tv_sec) * 1000000000LL + (t.ru_utime.tv_usec + t.ru_stime.tv_usec) * 1000LL,
	     p.ru_maxrss * 1024ULL, t.ru_minflt, t.ru_majflt, t.ru_nvcsw, t.ru_nivcsw, rd, wr);
}

static void *burner_main(void *arg)
{
	struct member *m = arg;
	m->tid = gettid();
	long long born = ns_of(CLOCK_MONOTONIC);
	fact_clone(m->by, getppid(), THREAD, KNOWN);
	while (ns_of(CLOCK_THREAD_CPUTIME_ID) < 150 * 1000000LL)
		;
	fact_usage(born);
	fact_exit(gettid(), 0, GOES_ON);
	syscall(SYS_exit, 0);
	return NULL;
}

static void *toucher_main(void *arg)
{
	struct member *m = arg;
	m->tid = gettid();
	long long born = ns_of(CLOCK_MONOTONIC);
	fact_clone(m->by, getppid(), THREAD, KNOWN);
	size_t size = 34 << 20;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		die("mmap");
	for (size_t i = 0; i < size; i += 4096)
		p[i] = 1;
	// A short sleep may be over before the thread has left its CPU.
	struct rusage used;
	do {
		usleep(1000);
		if (getrusage(RUSAGE_THREAD, &used))
			die("getrusage");
	} while (used.ru_nvcsw < 10);
	fact_usage(born);
	fact_exit(gettid(), 0, GOES_ON);
	syscall(SYS_exit, 0);
	return NULL;
}

static int do_usage(void)
{
	pid_t pid = forked();
	if (pid == 0) {
		long long born = ns_of(CLOCK_MONOTONIC);
		struct member m = { .by = gettid() };
		static void *(*const mains[])(void *) = { burner_main, toucher_main };
		for (int i = 0; i < 2; i++) { // one after the other: their usage must not mix
			if ((errno = pthread_create(&m.thread, NULL, mains[i], &m)))
				die("pthread_create");
			joined(m.thread, &m.tid);
		}
		static char block[256 << 10];
		int fd = open("written", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, block, sizeof(block)) != sizeof(block) || fsync(fd) || close(fd))
			die("write");
		fact_usage(born);
		leave(0);
	}
	reap(pid);
	return 0;
}

// do_stdio copies stdin to stderr and reports what it was started with.
static int do_stdio(void)
{
	char b[4096];
	ssize_t n;
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;
		if (fstat(fd, &st))
			die("fstat");
		emit("{\"fact\":\"stdio\",\"tid\":%d,\"dev\":%llu,\"ino\":%llu}", fd, (u64)st.st_dev, (u64)st.st_ino);
		note("stdio.flags", fcntl(fd, F_GETFL));
	}
	int open_fds = 0;
	for (int fd = 0; fd < 1024; fd++)
		open_fds += fcntl(fd, F_GETFD) >= 0;
	note("stdio.open", open_fds);
	struct rlimit rl;
	getrlimit(RLIMIT_NOFILE, &rl);
	note("start.nofile", rl.rlim_cur);
	getrlimit(RLIMIT_CORE, &rl);
	note("start.core", rl.rlim_cur);
	for (int sig = 1; sig < 65; sig++) {
		struct sigaction sa;
		sigset_t set;
		sigprocmask(SIG_BLOCK, NULL, &set);
		if (sigismember(&set, sig) == 1)
			note("start.blocked", sig);
		if (sigaction(sig, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN)
			note("start.ignored", sig);
	}
	mode_t mask = umask(0);
	note("start.umask", mask);
	note("start.nice", getpriority(PRIO_PROCESS, 0));
	umask(mask);
	note("start.leads_group", getpgrp() == getpid());
	note("start.leads_session", getsid(0) == getpid());
	note("start.timer_slack", prctl(PR_GET_TIMERSLACK));
	while ((n = read(0, b, sizeof(b))) > 0)
		if (write(2, b, n) != n)
			die("write");
	return 0;
}

// Operations that a watcher may deny: each outcome is a note.

static void *tried_main(void *arg)
{
	struct maker *m = arg;
	m->tid = gettid();
	fact_clone(m->by, getppid(), THREAD, KNOWN);
	fact_exit(gettid(), 0, GOES_ON);
	syscall(SYS_exit, 0);
	return NULL;
}

static int do_try_init(void)
{
	static const char *const keys[] = { "try.fork", "try.vfork", "try.clone3", "try.thread", "try.posix_spawn" };
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 5; i++) {
			struct maker m = { gettid(), getpid(), 0 };
			struct clone_args args = { .exit_signal = SIGCHLD };
			pid_t pid = 0;
			pthread_t thread;
			char **env = environment("true", gettid(), 0, CLONE_THREAD);
			errno = 0;
			switch (i) {
			case 0:
				if ((pid = fork()) == 0) {
					fact_clone(m.by, m.ppid, 0, KNOWN);
					leave(0);
				}
				break;
			case 1:
				if ((pid = vfork()) == 0) {
					fact_clone(m.by, m.ppid, CLONE_VM | CLONE_VFORK, ALL);
					fact_exit(gettid(), 0, ENDS);
					_exit(0);
				}
				break;
			case 2:
				if ((pid = clone3(&args)) == 0) {
					fact_clone(m.by, m.ppid, 0, ALL);
					leave(0);
				}
				break;
			case 3:
				if ((errno = pthread_create(&thread, NULL, tried_main, &m)) == 0)
					joined(thread, &m.tid);
				break;
			case 4:
				errno = posix_spawn(&pid, self, NULL, NULL, true_argv, env);
				if (errno)
					pid = -1;
				break;
			}
			int e = pid < 0 || i == 3 ? errno : 0;
			note(keys[i], e);
			if (e)
				fact_failed(1);
			if (pid > 0)
				reap(pid);
		}
	return 0;
}

// do_try_exec executes programs of which a watcher may deny those with
// "deny" as an argument; a task that is denied it goes on in the old program.
static int do_try_exec(void)
{
	static char *deny[] = { "true", "deny", NULL };
	for (int i = 0; i < 6; i++) {
		pid_t by = gettid();
		char **env = environment("true", by, CLONE_VM | CLONE_VFORK, ALL);
		pid_t ppid = getpid(), pid = i % 3 == 2 ? vfork() : forked();
		if (pid == 0) {
			int vforked = i % 3 == 2;
			execve(self, i % 2 ? deny : true_argv, vforked ? env : environment("true", 0, 0, 0));
			int e = errno;
			if (vforked)
				fact_clone(by, ppid, CLONE_VM | CLONE_VFORK, ALL);
			fact_exit(gettid(), e << 8, ENDS);
			_exit(e);
		}
		note("try.exec", reap(pid) >> 8);
	}
	return 0;
}

// do_try_ids makes changes of which a watcher may deny some.
static int do_try_ids(void)
{
	static const int runs[] = { 3, 8, 1, 6, 4, 9, 14, 15, 22 };
	for (unsigned i = 0; i < sizeof(runs) / sizeof(*runs); i++) {
		pid_t pid = forked();
		if (pid == 0) {
			pid_t tid = gettid();
			try_ids(runs[i], &tid, 1);
			leave(0);
		}
		reap(pid);
	}
	return 0;
}

// Tasks that would get away.

static int untraced_main(void *arg)
{
	struct maker *m = arg;
	fact_clone(m->by, m->ppid, THREAD, KNOWN);
	fact_exit(gettid(), 0, GOES_ON);
	m->tid = gettid();
	syscall(SYS_exit, 0);
	return 0;
}

// do_untraced makes tasks that ask not to be traced, in every way there is.
static int do_untraced(void)
{
	for (int i = 0; i < 4; i++) {
		pid_t by = gettid(), ppid = getpid(), pid;
		struct clone_args args = { .flags = CLONE_UNTRACED, .exit_signal = SIGCHLD };
		if (i == 2) {
			struct maker m = { by, getppid(), 0 };
			char *stack = malloc(256 << 10);
			pid = clone(untraced_main, stack + (256 << 10), THREAD | CLONE_UNTRACED, &m);
			if (pid < 0)
				die("clone");
			while (syscall(SYS_tgkill, ppid, pid, 0) == 0)
				usleep(100);
			continue;
		}
		pid = i % 2 ? clone3(&args) : syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
		if (pid < 0)
			die("clone");
		if (pid == 0) {
			fact_clone(by, ppid, 0, KNOWN);
			if (i == 3)
				exec_true(true_argv);
			leave(i);
		}
		note("untraced.status", reap(pid));
	}
	return 0;
}

// three makes three threads, a child, and a child that runs a program.
static void three(void)
{
	struct member m[3];
	for (int i = 0; i < 3; i++) {
		m[i] = (struct member){ .by = gettid(), .code = i };
		if ((errno = pthread_create(&m[i].thread, NULL, member_main, &m[i])))
			die("pthread_create");
	}
	for (int i = 0; i < 3; i++)
		joined(m[i].thread, &m[i].tid);
	for (int i = 0; i < 2; i++) {
		pid_t pid = forked();
		if (pid == 0 && i == 0)
			leave(4);
		if (pid == 0)
			exec_true(true_argv);
		note("three.status", reap(pid));
	}
}

// do_nodump keeps everybody but root from looking at it.
static int do_nodump(void)
{
	if (prctl(PR_SET_DUMPABLE, 0))
		die("prctl");
	three();
	return 7;
}

// do_closed runs a program that may be executed and not read, which closes the
// process like do_nodump.
static int do_closed(void)
{
	copy_self("closed", -1, -1, 0111);
	pid_t pid = forked();
	if (pid == 0) {
		execve("./closed", true_argv, environment("closed-body", 0, 0, 0));
		die("execve");
	}
	note("closed.status", reap(pid));
	return 0;
}

static int do_closed_body(void)
{
	three();
	return 7;
}

// do_roots runs programs under a root of their own, by chroot and by pivot_root.
// What they find there is what everybody finds, under other names.
static int do_roots(void)
{
	for (int i = 0; i < 2; i++) {
		pid_t pid = forked();
		if (pid == 0) {
			char **env = environment("true", 0, 0, 0);
			if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mkdir("root", 0755) ||
			    mount("/", "root", NULL, MS_BIND | MS_REC, NULL) || chdir("root"))
				die("mount");
			// There is no pivoting away from an initramfs.
			if (i == 0 || syscall(SYS_pivot_root, ".", ".")) {
				if (chroot("."))
					die("chroot");
			} else if (umount2(".", MNT_DETACH)) {
				die("umount");
			}
			if (chdir("/proc"))
				die("chdir");
			execve(self, true_argv, env);
			die("execve");
		}
		note("roots.status", reap(pid));
		if (rmdir("root"))
			die("rmdir");
	}
	return 0;
}

// install adds a filter that answers one system call.
static int install(int nr, unsigned answer, unsigned flags)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { sizeof(f) / sizeof(*f), f };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("prctl");
	int r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &p);
	if (r < 0)
		die("seccomp");
	return r;
}

// do_own_filter has filters of its own, which ask for a tracer that there is
// not, and answer otherwise.
static int do_own_filter(void)
{
	static const unsigned values[] = { 0, 1, 5, 0xffff };
	for (int i = 0; i < 4; i++) {
		pid_t pid = forked();
		if (pid == 0) {
			char **env = environment("true", 0, 0, 0);
			install(SYS_times, SECCOMP_RET_TRACE | values[i], 0);
			install(SYS_execve, SECCOMP_RET_TRACE | values[i], 0);
			install(SYS_clone, SECCOMP_RET_TRACE | values[i], 0);
			install(SYS_setresuid, SECCOMP_RET_ERRNO | 13, 0);
			note("own_filter.times", syscall(SYS_times, NULL) < 0 ? errno : 0);
			note("own_filter.execve", execve(self, true_argv, env) < 0 ? errno : 0);
			note("own_filter.clone", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) < 0 ? errno : 0);
			note("own_filter.setresuid", syscall(SYS_setresuid, -1, -1, -1) < 0 ? errno : 0);
			leave(0);
		}
		note("own_filter.status", reap(pid));
	}
	return 0;
}

// do_listener has a filter with a listener, as container runtimes do, that lets
// calls go on which change ids.
static int do_listener(void)
{
	for (int i = 0; i < 4; i++) {
		pid_t pid = forked();
		if (pid != 0) {
			note("listener.status", reap(pid));
			continue;
		}
		int nr = i == 3 ? SYS_setgid : SYS_setuid;
		int fd = install(nr, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
		pid_t child = forked();
		if (child == 0) {
			struct ids old = ids_of(gettid());
			if (syscall(nr, A))
				die("setuid");
			fact_ids(gettid(), old, ids_of(gettid()), "syscall");
			if (i == 1)
				exec_true(true_argv);
			if (i == 2) {
				if (forked() == 0)
					leave(2);
				reap(-1);
			}
			leave(0);
		}
		struct seccomp_notif n;
		memset(&n, 0, sizeof(n));
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &n))
			die("receive");
		struct seccomp_notif_resp r = { .id = n.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
		if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &r))
			die("send");
		note("listener.child", reap(child));
		leave(0);
	}
	return 0;
}

// do_siblings makes children of the command's own parent.
static int do_siblings(int n)
{
	int said[2];
	char c;
	if (pipe2(said, O_CLOEXEC))
		die("pipe");
	for (int i = 0; i < n; i++) {
		pid_t by = gettid(), ppid = getppid(), pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
		if (pid < 0)
			die("clone");
		if (pid == 0) {
			fact_clone(by, ppid, CLONE_PARENT, ALL);
			if (write(said[1], "x", 1) != 1)
				die("write");
			leave(6);
		}
		if (read(said[0], &c, 1) != 1) // else the command ends before it has reported itself
			die("read");
	}
	return 0;
}

// System calls of i386, which a 64-bit program can make.

#ifdef __x86_64__
static long i386(long nr, long a, long b, long c)
{
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(0L), "D"(0L)
			 : "memory", "r8", "r9", "r10", "r11");
	return r;
}

static unsigned low_string(char **at, const char *s)
{
	unsigned p = (uintptr_t)*at;
	*at = stpcpy(*at, s) + 1;
	return p;
}

static int do_i386(void)
{
	enum { I386_FORK = 2, I386_EXECVE = 11, I386_CLONE = 120, I386_SETUID32 = 213, I386_SETGID32 = 214, I386_CLONE3 = 435 };
	char *low = mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		die("mmap");
	struct clone_args *args = (void *)low;
	args->flags = CLONE_FS;
	args->exit_signal = SIGCHLD;
	for (int i = 0; i < 5; i++) {
		static const u64 flags[] = { 0, CLONE_FS | CLONE_FILES, CLONE_FS, 0, 0 };
		pid_t by = gettid(), ppid = getpid(), pid;
		switch (i) {
		case 1: pid = i386(I386_CLONE, flags[i] | SIGCHLD, 0, 0); break;
		case 2: pid = i386(I386_CLONE3, (long)args, sizeof(*args), 0); break;
		default: pid = i386(I386_FORK, 0, 0, 0);
		}
		if (pid < 0)
			die("i386 fork");
		if (pid != 0) {
			note("i386.status", reap(pid));
			continue;
		}
		fact_clone(by, ppid, flags[i], ALL);
		if (i == 3) {
			struct ids old = ids_of(gettid()), new;
			if (i386(I386_SETGID32, A, 0, 0))
				die("i386 setgid32");
			fact_ids(gettid(), old, new = ids_of(gettid()), "syscall");
			if (i386(I386_SETUID32, B, 0, 0))
				die("i386 setuid32");
			fact_ids(gettid(), new, ids_of(gettid()), "syscall");
		}
		if (i == 4) {
			char *at = low + 8192, **env = environment("true", 0, 0, 0);
			unsigned *argv32 = (void *)(low + 4096), *env32 = argv32 + 8, n;
			for (n = 0; true_argv[n]; n++)
				argv32[n] = low_string(&at, true_argv[n]);
			for (n = 0; env[n]; n++)
				env32[n] = low_string(&at, env[n]);
			i386(I386_EXECVE, low_string(&at, self), (long)argv32, (long)env32);
			die("i386 execve");
		}
		leave(i);
	}
	return 0;
}
#else
static int do_i386(void) { die("no i386"); }
#endif

static _Noreturn void do_sleep(void)
{
	pid_t parent = getpid();
	if (forked() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); // whoever ends the command ends its child
		while (getppid() == parent)
			pause();
		_exit(0);
	}
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	fact_exec(argc, argv);
	const char *name = getenv("WL_CASE");
	int n = 0, code = 0;
	if (!name) {
		name = argc > 1 ? argv[1] : "";
		n = argc > 2 ? atoi(argv[2]) : 0;
	}
#define CASE(s, call) else if (!strcmp(name, s)) code = call
	if (!strcmp(name, "true"))
		code = 0;
	CASE("exit", n);
	CASE("suicide", (do_suicide(n), 0));
	CASE("fork", do_fork(n));
	CASE("exec", do_exec(n));
	CASE("argv", do_argv());
	CASE("cwd", do_cwd());
	CASE("thread", do_thread(n));
	CASE("vfork", do_vfork(n));
	CASE("posix-spawn", do_posix_spawn(n));
	CASE("clone3", do_clone3(n));
	CASE("clone-vm", do_clone_vm(n));
	CASE("clone-parent", do_clone_parent());
	CASE("exec-thread", do_exec_thread(n));
	CASE("exec-fail", do_exec_fail());
	CASE("script", do_script());
	CASE("execveat", do_execveat());
	CASE("daemon", do_daemon());
	CASE("orphan", do_orphan());
	CASE("zombie", do_zombie(n));
	CASE("autoreap", do_autoreap(n));
	CASE("killed", do_killed());
	CASE("kill-threads", do_kill_threads());
	CASE("exit-group", do_exit_group());
	CASE("leader-first", do_leader_first());
	CASE("stop", do_stop());
	CASE("signals", do_signals(n));
	CASE("ids-none", do_ids_none());
	CASE("ids", do_ids());
	CASE("ids-threads", do_ids_threads());
	CASE("setgroups", do_setgroups());
	CASE("ids-exec", do_ids_exec());
	CASE("fork-fail", do_fork_fail());
	CASE("pid-reuse", do_pid_reuse(n));
	CASE("many", do_many(n));
	CASE("many-threads", do_many_threads(n));
	CASE("usage", do_usage());
	CASE("stdio", do_stdio());
	CASE("try-init", do_try_init());
	CASE("try-exec", do_try_exec());
	CASE("try-ids", do_try_ids());
	CASE("untraced", do_untraced());
	CASE("nodump", do_nodump());
	CASE("closed", do_closed());
	CASE("closed-body", do_closed_body());
	CASE("roots", do_roots());
	CASE("own-filter", do_own_filter());
	CASE("listener", do_listener());
	CASE("siblings", do_siblings(n));
	CASE("i386", do_i386());
	CASE("sleep", (do_sleep(), 0));
	else
		die("unknown case");
	leave(code);
}
