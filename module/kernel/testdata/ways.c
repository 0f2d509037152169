/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ways exec|fork|ids DIR: tries every way to run a program, to make a task, or
 * to change ids, each in a child of its own that is called "twvetoed" for the
 * moment of the attempt. For each it prints a line "NAME RESULT": "done", the
 * errno of a failure, or "impossible N" where the step N before it fails here.
 * DIR is empty, and on a file system that minds set-id bits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifndef __NR_clone3
#define __NR_clone3 435
#endif
#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#endif

enum { DONE = 255, IMPOSSIBLE = 200 }; /* exit codes; others are an errno */

extern char **environ;
static char program[PATH_MAX]; /* this one */
static char copy[PATH_MAX];    /* of it, in the directory */
static char *args[] = { "ways", "ran", NULL };

static void attempt(void) { prctl(PR_SET_NAME, "twvetoed"); }
static void over(void) { prctl(PR_SET_NAME, "ways"); }

/* need - end the way unless a step before it works */
#define need(ok)                                                                             \
	do {                                                                                 \
		if (!(ok))                                                                   \
			_exit(IMPOSSIBLE + __COUNTER__ % 50);                                \
	} while (0)

static int run(const char *path)
{
	attempt();
	execve(path, args, environ);
	return errno;
}

static int run_at(int dir, const char *path, int flags)
{
	attempt();
	syscall(SYS_execveat, dir, path, args, environ, flags);
	return errno;
}

static int run_fd(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return run(path);
}

static int opened(int flags)
{
	int fd = open(copy, flags);

	need(fd >= 0);
	return fd;
}

static int filled(int fd)
{
	int from = open(program, O_RDONLY);
	struct stat st;

	need(fd >= 0 && from >= 0 && !fstat(from, &st));
	need(sendfile(fd, from, NULL, st.st_size) == st.st_size);
	return fd;
}

static const char *written(const char *name, const char *text, int mode)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	need(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !fchmod(fd, mode) && !close(fd));
	return name;
}

/* The programs. */
static int exec_path(void) { return run(copy); }
static int exec_relative(void) { return run("./copy"); }
static int exec_dots(void) { return run("/proc/self/../self/cwd/./copy"); }
static int exec_self(void) { return run("/proc/self/exe"); }
static int exec_fd(void) { return run_fd(opened(O_RDONLY)); }
static int exec_opath(void) { return run_fd(opened(O_PATH)); }
static int exec_at(void) { return run_at(open(".", O_PATH), "copy", 0); }
static int exec_at_fd(void) { return run_at(opened(O_RDONLY), "", AT_EMPTY_PATH); }
static int exec_at_opath(void) { return run_at(opened(O_PATH), "", AT_EMPTY_PATH); }
static int exec_at_nofollow(void) { return run_at(AT_FDCWD, "copy", AT_SYMLINK_NOFOLLOW); }

static int exec_symlink(void)
{
	unlink("symlink");
	need(!symlink(copy, "symlink"));
	return run("symlink");
}

static int exec_hardlink(void)
{
	unlink("hardlink");
	need(!link(copy, "hardlink"));
	return run("hardlink");
}

static int exec_deleted(void)
{
	int fd = filled(open("deleted", O_WRONLY | O_CREAT | O_TRUNC, 0755)), ro = open("deleted", O_RDONLY);

	need(ro >= 0 && !close(fd) && !unlink("deleted"));
	return run_fd(ro);
}

static int exec_memfd(void) { return run_fd(filled(memfd_create("memfd", 0))); }
static int exec_at_memfd(void) { return run_at(filled(memfd_create("memfd", MFD_CLOEXEC)), "", AT_EMPTY_PATH); }

static int exec_script(void)
{
	char text[PATH_MAX + 10];

	snprintf(text, sizeof(text), "#!%s\n", copy);
	return run(written("script", text, 0755));
}

static int exec_script_of_script(void)
{
	char text[PATH_MAX + 10], dir[PATH_MAX];

	snprintf(text, sizeof(text), "#!%s\n", copy);
	written("inner", text, 0755);
	need(getcwd(dir, sizeof(dir) - 10));
	snprintf(text, sizeof(text), "#!%s/inner\n", dir);
	return run(written("outer", text, 0755));
}

/* What binfmt_misc runs begins with this; the test has registered it. */
static int exec_binfmt(void)
{
	need(!access("/proc/sys/fs/binfmt_misc/twways", F_OK));
	return run(written("binfmt", "TWWAYS\n", 0755));
}

static void *exec_in_thread_start(void *err)
{
	*(int *)err = run(copy);
	return NULL;
}

static int exec_in_thread(void)
{
	int err = 0;
	pthread_t t;

	need(!pthread_create(&t, NULL, exec_in_thread_start, &err));
	pthread_join(t, NULL);
	return err;
}

static int exec_vfork(void)
{
	volatile int err = 0;
	int status;
	pid_t pid = vfork();

	if (!pid) {
		err = run(copy);
		_exit(1);
	}
	need(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WEXITSTATUS(status) == DONE ? DONE : err;
}

static int exec_user_namespace(void)
{
	need(!unshare(CLONE_NEWUSER));
	return run(copy);
}

static int exec_bind_mount(void)
{
	mkdir("bind", 0755);
	need(!unshare(CLONE_NEWUSER | CLONE_NEWNS) && !mount(".", "bind", NULL, MS_BIND, NULL));
	return run("bind/copy");
}

static int exec_detached_mount(void)
{
	int fd;

	need(!unshare(CLONE_NEWUSER | CLONE_NEWNS));
	fd = syscall(428 /* open_tree */, AT_FDCWD, ".", 1 /* OPEN_TREE_CLONE */);
	need(fd >= 0);
	return run_at(fd, "copy", 0);
}

static int exec_overlay(void)
{
	mkdir("merged", 0755);
	mkdir("empty", 0755);
	mkdir("lower", 0755);
	need(!link("copy", "lower/copy") || errno == EEXIST);
	need(!unshare(CLONE_NEWNS) && !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	need(!mount("o", "merged", "overlay", 0, "lowerdir=lower:empty"));
	return run("merged/copy");
}

/* What a file's capabilities allow, cap_net_raw, it gets by the exec. */
static int exec_capabilities(void)
{
	static const uint32_t caps[] = { 0x02000001, 1 << 13, 0, 0, 0 }; /* version 2, effective; cap_net_raw */

	close(filled(open("capable", O_WRONLY | O_CREAT | O_TRUNC, 0755)));
	need(!setxattr("capable", "security.capability", caps, sizeof(caps), 0));
	need(!setresuid(1000, 1000, 1000));
	return run("capable");
}

static int exec_chroot(void)
{
	need(!chroot("."));
	return run("/copy");
}

/* The tasks. */
static int made(long pid)
{
	int err = errno, status;

	if (!pid)
		_exit(0);
	over();
	if (pid < 0)
		return err;
	waitpid(pid, &status, __WALL);
	return DONE;
}

static int fork_libc(void)
{
	attempt();
	return made(fork());
}

static int fork_vfork(void)
{
	int err, status;
	pid_t pid;

	attempt();
	pid = vfork();
	if (!pid)
		_exit(0);
	err = errno;
	over();
	if (pid < 0)
		return err;
	waitpid(pid, &status, 0);
	return DONE;
}

#ifdef SYS_fork
static int fork_raw(void)
{
	attempt();
	return made(syscall(SYS_fork));
}
#endif

static int cloned(unsigned long flags)
{
	attempt();
	return made(syscall(SYS_clone, flags, 0, 0, 0, 0));
}

static int clone_plain(void) { return cloned(SIGCHLD); }
static int clone_silent(void) { return cloned(0); }
static int clone_user(void) { return cloned(CLONE_NEWUSER | SIGCHLD); }
static int clone_namespaces(void) { return cloned(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | SIGCHLD); }
static int clone_shared(void) { return cloned(CLONE_FILES | CLONE_FS | CLONE_IO | CLONE_SYSVSEM | SIGCHLD); }

static int clone_pid_namespace(void)
{
	need(!unshare(CLONE_NEWUSER | CLONE_NEWPID));
	return cloned(SIGCHLD);
}

static int clone3(unsigned long long flags, int cgroup)
{
	unsigned long long a[11] = { [0] = flags, [4] = SIGCHLD, [10] = cgroup };

	attempt();
	return made(syscall(__NR_clone3, a, sizeof(a)));
}

static int clone3_plain(void) { return clone3(0, 0); }

static int clone3_cgroup(void)
{
	int fd = open("/sys/fs/cgroup", O_RDONLY);

	need(fd >= 0);
	fd = clone3(0x200000000ull /* CLONE_INTO_CGROUP */, fd);
	need(fd != EBADF); /* an old cgroup file system */
	return fd;
}

/* A process id that the caller chooses. */
static int clone3_tid(void)
{
	pid_t want = 30000;
	unsigned long long a[10] = { [4] = SIGCHLD, [8] = (uintptr_t)&want, [9] = 1 };

	attempt();
	return made(syscall(__NR_clone3, a, sizeof(a)));
}

/* The child of a namespace that the caller has joined. */
static int clone_joined(void)
{
	char file[64];
	int fd, hold[2];
	pid_t init;

	need(!pipe(hold) && !unshare(CLONE_NEWPID));
	init = fork();
	if (!init) {
		close(hold[1]);
		_exit(read(hold[0], file, 1) != 0);
	}
	snprintf(file, sizeof(file), "/proc/%d/ns/pid", init);
	need(init > 0 && (fd = open(file, O_RDONLY)) >= 0);
	need(!setns(fd, CLONE_NEWPID));
	return cloned(SIGCHLD);
}

static void *nothing(void *p) { return p; }

static int thread(void)
{
	pthread_t t;
	int err;

	attempt();
	err = pthread_create(&t, NULL, nothing, NULL);
	over();
	if (!err)
		pthread_join(t, NULL);
	return err ? err : DONE;
}

static int spawned(void)
{
	pid_t pid;
	int err, status;

	attempt();
	err = posix_spawn(&pid, copy, NULL, NULL, args, environ);
	over();
	if (err)
		return err;
	waitpid(pid, &status, 0);
	return DONE;
}

/* The kernel makes a thread of the process that polls the queue. */
static int io_uring_poller(void)
{
	unsigned params[30] = { [2] = 2 /* IORING_SETUP_SQPOLL */ };
	int fd, err;

	attempt();
	fd = syscall(__NR_io_uring_setup, 4, params);
	err = errno;
	over();
	if (fd >= 0)
		return DONE;
	need(err != ENOSYS);
	return err;
}

/* The ids. A call that says that it worked has to have changed something. */
struct identity {
	uid_t r, e, s, f;
	gid_t gr, ge, gs, gf;
	int groups;
};

static struct identity identity(void)
{
	struct identity i = {};

	getresuid(&i.r, &i.e, &i.s);
	getresgid(&i.gr, &i.ge, &i.gs);
	i.f = setfsuid(-1);
	i.gf = setfsgid(-1);
	i.groups = getgroups(0, NULL);
	return i;
}

#define SET(name, call)                                                                      \
	static int name(void)                                                                \
	{                                                                                    \
		struct identity before = identity(), after;                                  \
		long err;                                                                    \
                                                                                             \
		attempt();                                                                   \
		errno = 0;                                                                   \
		call;                                                                        \
		err = errno;                                                                 \
		over();                                                                      \
		after = identity();                                                          \
		if (memcmp(&before, &after, sizeof(before)))                                 \
			return DONE;                                                         \
		return err ? err : EPERM; /* as setfsuid(), which says nothing */            \
	}

static void set_three_groups(void)
{
	gid_t list[] = { 1001, 1002, 1003 };

	setgroups(3, list);
}

SET(set_uid, setuid(1000))
SET(set_reuid, setreuid(-1, 1000))
SET(set_resuid, setresuid(-1, -1, 1000))
SET(set_fsuid, setfsuid(1000))
SET(set_gid, setgid(1000))
SET(set_regid, setregid(1000, -1))
SET(set_resgid, setresgid(-1, 1000, -1))
SET(set_fsgid, setfsgid(1000))
SET(set_groups, set_three_groups())
#if defined(__i386__) || defined(__arm__) /* calls with ids of 16 bits */
SET(set_uid16, syscall(SYS_setuid, 1000))
SET(set_reuid16, syscall(SYS_setreuid, -1, 1000))
SET(set_resuid16, syscall(SYS_setresuid, -1, 1000, -1))
SET(set_fsuid16, syscall(SYS_setfsuid, 1000))
SET(set_gid16, syscall(SYS_setgid, 1000))
SET(set_regid16, syscall(SYS_setregid, -1, 1000))
SET(set_resgid16, syscall(SYS_setresgid, -1, 1000, -1))
SET(set_fsgid16, syscall(SYS_setfsgid, 1000))
#endif

/* Capabilities are no ids: this is denied by no watcher of ids. */
static int cap_set(void)
{
	struct {
		uint32_t version;
		int pid;
	} header = { 0x20080522, 0 };
	uint32_t caps[6]; /* effective, permitted and inheritable, twice */

	need(!syscall(SYS_capget, &header, caps) && caps[0] & 1 << 13);
	caps[0] &= ~(1 << 13); /* cap_net_raw */
	attempt();
	return syscall(SYS_capset, &header, caps) ? errno : DONE;
}

/* The credentials of a process are made anew by its child; the ids stay. */
static int key_session(void)
{
	int err, status;
	pid_t pid;

	attempt();
	pid = vfork(); /* the memory is shared, the credentials are not */
	if (!pid) {
		if (syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, NULL) < 0)
			_exit(errno);
		_exit(syscall(SYS_keyctl, 18 /* KEYCTL_SESSION_TO_PARENT */) ? errno : DONE);
	}
	err = errno;
	if (pid < 0)
		return err;
	need(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int set_id_exec(const char *name, int mode, int uid, int gid, const char *script)
{
	int fd;

	if (script)
		written(name, script, mode);
	else {
		unlink(name);
		fd = filled(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755));
		need(!fchown(fd, uid, gid) && !fchmod(fd, mode) && !close(fd));
	}
	args[1] = "as";
	return run(name);
}

static int exec_setuid(void) { return set_id_exec("setuid", 04755, 1000, 0, NULL); }
static int exec_setgid(void) { return set_id_exec("setgid", 02755, 0, 1000, NULL); }

static int exec_setuid_script(void)
{
	char text[PATH_MAX + 20], dir[PATH_MAX];
	int fd = filled(open("interpreter", O_WRONLY | O_CREAT | O_TRUNC, 0755));

	need(!fchown(fd, 1000, 0) && !fchmod(fd, 04755) && !close(fd) && getcwd(dir, sizeof(dir) - 20));
	snprintf(text, sizeof(text), "#!%s/interpreter\n", dir);
	return set_id_exec("idscript", 0755, 0, 0, text);
}

/* The ids are those of the file, which binfmt_misc gives its interpreter with the flag C. */
static int exec_setuid_binfmt(void)
{
	int fd;

	need(!access("/proc/sys/fs/binfmt_misc/twcredentials", F_OK));
	written("idbinfmt", "TWCREDENTIALS\n", 0755);
	fd = open("idbinfmt", O_RDONLY);
	need(fd >= 0 && !fchown(fd, 1000, 0) && !fchmod(fd, 04755) && !close(fd));
	args[1] = "as";
	return run("idbinfmt");
}

/* As su and sudo are run. */
static int exec_setuid_root(void)
{
	int fd = filled(open("su", O_WRONLY | O_CREAT | O_TRUNC, 0755));

	need(!fchmod(fd, 04755) && !close(fd) && !setresuid(1000, 1000, 1000));
	return run("su");
}

static int exec_setuid_fd(void)
{
	int fd = filled(open("setuid2", O_WRONLY | O_CREAT | O_TRUNC, 0755));

	need(!fchown(fd, 1000, 0) && !fchmod(fd, 04755) && !close(fd));
	fd = open("setuid2", O_RDONLY);
	need(fd >= 0);
	args[1] = "as";
	return run_at(fd, "", AT_EMPTY_PATH);
}

struct way {
	const char *group, *name;
	int (*try)(void);
};

#define W(group, fn) { #group, #fn, fn }
static const struct way ways[] = {
	W(exec, exec_path), W(exec, exec_relative), W(exec, exec_dots), W(exec, exec_self), W(exec, exec_fd),
	W(exec, exec_opath), W(exec, exec_at), W(exec, exec_at_fd), W(exec, exec_at_opath), W(exec, exec_at_nofollow),
	W(exec, exec_symlink), W(exec, exec_hardlink), W(exec, exec_deleted), W(exec, exec_memfd), W(exec, exec_at_memfd),
	W(exec, exec_script), W(exec, exec_script_of_script), W(exec, exec_binfmt), W(exec, exec_in_thread),
	W(exec, exec_vfork), W(exec, exec_user_namespace), W(exec, exec_bind_mount), W(exec, exec_detached_mount),
	W(exec, exec_overlay), W(exec, exec_chroot), W(exec, exec_capabilities),

	W(fork, fork_libc), W(fork, fork_vfork), W(fork, clone_plain), W(fork, clone_silent), W(fork, clone_user),
	W(fork, clone_namespaces), W(fork, clone_shared), W(fork, clone_pid_namespace), W(fork, clone3_plain),
	W(fork, clone3_cgroup), W(fork, clone3_tid), W(fork, clone_joined), W(fork, thread), W(fork, spawned), W(fork, io_uring_poller),
#ifdef SYS_fork
	W(fork, fork_raw),
#endif

	W(ids, set_uid), W(ids, set_reuid), W(ids, set_resuid), W(ids, set_fsuid), W(ids, set_gid), W(ids, set_regid),
	W(ids, set_resgid), W(ids, set_fsgid), W(ids, set_groups), W(ids, cap_set), W(ids, key_session),
	W(ids, exec_setuid), W(ids, exec_setgid), W(ids, exec_setuid_script), W(ids, exec_setuid_fd), W(ids, exec_setuid_root), W(ids, exec_setuid_binfmt),
#if defined(__i386__) || defined(__arm__)
	W(ids, set_uid16), W(ids, set_reuid16), W(ids, set_resuid16), W(ids, set_fsuid16), W(ids, set_gid16),
	W(ids, set_regid16), W(ids, set_resgid16), W(ids, set_fsgid16),
#endif
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[argc - 1], "as")) /* run by a set-id file */
		return geteuid() || getegid() ? DONE : 199;
	if (!strcmp(argv[argc - 1], "ran"))
		return DONE;
	if (argc != 3 || readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		return 1;
	if (chdir(argv[2]))
		return 1;
	snprintf(copy, sizeof(copy), "%s/copy", argv[2]);
	close(filled(open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0755)));
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int status;
		pid_t pid;

		if (strcmp(ways[i].group, argv[1]))
			continue;
		pid = fork();
		if (!pid) {
			over();
			_exit(ways[i].try());
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return 1;
		printf("%s ", ways[i].name);
		if (WIFSIGNALED(status))
			printf("signal %d\n", WTERMSIG(status));
		else if (WEXITSTATUS(status) == DONE)
			puts("done");
		else if (WEXITSTATUS(status) >= IMPOSSIBLE)
			printf("impossible %d\n", WEXITSTATUS(status) - IMPOSSIBLE);
		else
			printf("%d\n", WEXITSTATUS(status));
	}
	return 0;
}
