// names WAY PROGRAM MARK: runs PROGRAM with MARK as its argument, named in one
// way. It exits with the program's status, with 126 if the exec has failed,
// and with 77 where the machine does not allow the way.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *program, *mark, *dir, *base;
static char *args[3];

static void impossible(void) { _exit(77); }

static int run(const char *name)
{
	execv(name, args);
	return 126;
}

static int fd_of(int flags)
{
	int fd = open(program, flags);
	if (fd < 0)
		impossible();
	return fd;
}

static int run_fd(const char *format, int flags)
{
	char name[100];
	snprintf(name, sizeof name, format, fd_of(flags));
	return run(name);
}

static int run_pid_fd(const char *format)
{
	char name[100];
	snprintf(name, sizeof name, format, getpid(), fd_of(O_RDONLY));
	return run(name);
}

/* A working directory of almost PATH_MAX. */
static int deep(void)
{
	char part[201], up[4000] = "";
	memset(part, 'd', 200);
	part[200] = 0;
	for (int i = 0; i < 19; i++) {
		if ((mkdir(part, 0777) && errno != EEXIST) || chdir(part))
			impossible();
		strcat(up, "../");
	}
	return run(strcat(up, base));
}

static int long_path(void)
{
	char name[4096] = "";
	size_t n = strlen(program);
	while (strlen(name) + n + 3 < 4095)
		strcat(name, "/.");
	return run(strcat(name, program));
}

static int symlinked(void)
{
	if (symlink(base, "one") || symlink("one", "two") || symlink("/proc/self/cwd/two", "three"))
		impossible();
	return run("./three");
}

static int magic_chain(void)
{
	char text[100];
	snprintf(text, sizeof text, "/proc/thread-self/fd/%d", fd_of(O_RDONLY));
	if (symlink(text, "magic") || symlink("/dev/fd/../cwd/magic", "chain"))
		impossible();
	return run("chain");
}

static int memfd(void)
{
	int from = fd_of(O_RDONLY), to = memfd_create("denied-program", 0);
	struct stat st;
	fstat(from, &st);
	if (to < 0 || sendfile(to, from, 0, st.st_size) != st.st_size)
		impossible();
	syscall(SYS_execveat, to, "", args, environ, AT_EMPTY_PATH);
	return 126;
}

static int script(int levels)
{
	char name[100], interpreter[4096];
	snprintf(interpreter, sizeof interpreter, "%s", program);
	for (int i = 0; i < levels; i++) {
		snprintf(name, sizeof name, i + 1 == levels ? "denied-script" : "script%d", i);
		FILE *f = fopen(name, "w");
		fprintf(f, "#! %s  an argument \nrest\n", interpreter);
		fclose(f);
		chmod(name, 0755);
		snprintf(interpreter, sizeof interpreter, "%s/%s", dir, name);
	}
	return run(interpreter);
}

/* A script in an interpreter's place, by a name that leads through /proc. */
static int interpreter(const char *format)
{
	char name[4096];
	snprintf(name, sizeof name, format, program);
	FILE *f = fopen("script", "w");
	fprintf(f, "#!%s\n", name);
	fclose(f);
	chmod("script", 0755);
	args[0] = "first argument, which an interpreter does not get";
	return run("./script");
}

static int interpreter_of_interpreter(void)
{
	FILE *f = fopen("inner", "w");
	fprintf(f, "#! %s\t-x y \n", program);
	fclose(f);
	f = fopen("outer", "w");
	fprintf(f, "#!/proc/self/cwd/inner");
	fclose(f);
	chmod("inner", 0755);
	chmod("outer", 0755);
	return run("./outer");
}

static int emulated(void)
{
	/* as text: binfmt_misc runs what ends in .taskwatch by the program */
	FILE *f = fopen("x.taskwatch", "w");
	fprintf(f, "no program of its own\n");
	fclose(f);
	chmod("x.taskwatch", 0755);
	return run("./x.taskwatch");
}

static void *in_thread(void *name)
{
	_exit(run(name));
}

static int thread(char *name)
{
	pthread_t t;
	pthread_create(&t, 0, in_thread, name);
	pause();
	return 125;
}

static int thread_fd(void)
{
	static char name[100];
	if (unshare(CLONE_FS))
		impossible();
	snprintf(name, sizeof name, "/proc/thread-self/fd/%d", fd_of(O_RDONLY));
	return thread(name);
}

static int status_of(pid_t pid)
{
	int st;
	while (waitpid(pid, &st, 0) < 0)
		;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

static int vforked(void)
{
	pid_t pid = vfork();
	if (!pid)
		_exit(run(program));
	return status_of(pid);
}

/* A filter of its own with a listener, which lets the exec go on. */
static int notify(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_execve, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { sizeof f / sizeof *f, f };
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &p);
	if (fd < 0)
		impossible();
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	pid_t pid = fork();
	if (!pid)
		_exit(run(program));
	struct seccomp_notif n;
	memset(&n, 0, sizeof n);
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &n))
		impossible();
	struct seccomp_notif_resp r = { .id = n.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
	ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &r);
	return status_of(pid);
}

#ifdef __x86_64__
static void not_here(int sig)
{
	(void)sig;
	_exit(77);
}
#endif

static int int80(void)
{
#ifdef __x86_64__
	char *m = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint32_t *v = (uint32_t *)(m + 6000);
	strcpy(m, program);
	strcpy(m + 4096, mark);
	v[0] = (uint32_t)(uintptr_t)m;
	v[1] = (uint32_t)(uintptr_t)(m + 4096);
	v[2] = 0;
	long r;
	signal(SIGSEGV, not_here); /* a kernel without 32-bit calls */
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(11L), "b"(m), "c"(v), "d"(0L) : "memory", "r8", "r9", "r10", "r11");
	return r == -ENOSYS ? 77 : 126;
#else
	return 77;
#endif
}

/* Bind nothing: the root is the program's own directory. */
static int chrooted(const char *link)
{
	static char in_root[4096];
	if (getuid() && unshare(CLONE_NEWUSER))
		impossible();
	if (chroot(dir) || chdir("/"))
		impossible();
	snprintf(in_root, sizeof in_root, "/%s", strrchr(mark, '/') + 1);
	args[1] = in_root;
	char to[300];
	snprintf(to, sizeof to, link, base);
	if (symlink(to, "link"))
		impossible();
	return run("/link");
}

static int user_namespace(void)
{
	if (unshare(CLONE_NEWUSER))
		impossible();
	return run(program);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	char *way = argv[1];
	program = argv[2];
	mark = argv[3];
	args[0] = "x";
	args[1] = mark;
	dir = strdup(program);
	base = strrchr(dir, '/') + 1;
	base[-1] = 0;

	if (!strcmp(way, "plain"))
		return run(program);
	if (!strcmp(way, "relative"))
		return run(base);
	if (!strcmp(way, "dotdot")) {
		char name[4096];
		mkdir("sub", 0777);
		snprintf(name, sizeof name, "sub/.././sub//../%s", base);
		return run(name);
	}
	if (!strcmp(way, "symlink"))
		return symlinked();
	if (!strcmp(way, "deepcwd"))
		return deep();
	if (!strcmp(way, "longpath"))
		return long_path();
	if (!strcmp(way, "self-fd"))
		return run_fd("/proc/self/fd/%d", O_RDONLY);
	if (!strcmp(way, "dev-fd"))
		return run_fd("/dev/fd/%d", O_RDONLY);
	if (!strcmp(way, "thread-self-fd"))
		return run_fd("/proc/thread-self/fd/%d", O_RDONLY);
	if (!strcmp(way, "opath-fd"))
		return run_fd("/proc/self/fd/%d", O_PATH);
	if (!strcmp(way, "pid-fd"))
		return run_pid_fd("/proc/%d/fd/%d");
	if (!strcmp(way, "task-fd"))
		return run_pid_fd("/proc/self/task/%d/fd/%d");
	if (!strcmp(way, "self-cwd")) {
		char name[4096];
		snprintf(name, sizeof name, "/proc/self/cwd/%s", base);
		return run(name);
	}
	if (!strcmp(way, "self-root")) {
		char name[4096];
		snprintf(name, sizeof name, "/proc/self/root%s", program);
		return run(name);
	}
	if (!strcmp(way, "execveat")) {
		syscall(SYS_execveat, open(dir, O_PATH), base, args, environ, 0);
		return 126;
	}
	if (!strcmp(way, "execveat-fd")) {
		syscall(SYS_execveat, fd_of(O_PATH), "", args, environ, AT_EMPTY_PATH);
		return 126;
	}
	if (!strcmp(way, "memfd"))
		return memfd();
	if (!strcmp(way, "magic-chain"))
		return magic_chain();
	if (!strcmp(way, "script"))
		return script(1);
	if (!strcmp(way, "script4"))
		return script(4);
	if (!strcmp(way, "interpreter"))
		return interpreter("%s");
	if (!strcmp(way, "interpreter-proc"))
		return interpreter("/proc/self/root%s");
	if (!strcmp(way, "interpreter2"))
		return interpreter_of_interpreter();
	if (!strcmp(way, "binfmt"))
		return emulated();
	if (!strcmp(way, "nodump")) {
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		return run(program);
	}
	if (!strcmp(way, "thread"))
		return thread(program);
	if (!strcmp(way, "thread-fd"))
		return thread_fd();
	if (!strcmp(way, "vfork"))
		return vforked();
	if (!strcmp(way, "notify"))
		return notify();
	if (!strcmp(way, "int80"))
		return int80();
	if (!strcmp(way, "chroot-link"))
		return chrooted("/%s");
	if (!strcmp(way, "chroot-dotdot"))
		return chrooted("../../../%s");
	if (!strcmp(way, "userns"))
		return user_namespace();
	return 2;
}
