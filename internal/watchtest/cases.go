package watchtest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

var root = []testutil.Need{testutil.NeedsRoot}

// roots is what is needed for mounts of one's own that nobody else sees.
var roots = []testutil.Need{testutil.NeedsRoot, testutil.NeedsMountedRoot}

// listener is SECCOMP_USER_NOTIF_FLAG_CONTINUE, and ids to change.
var listener = []testutil.Need{testutil.NeedsRoot, testutil.NeedsKernel(5, 5)}

// needsI386 is met where a 64-bit program may make 32-bit calls.
func needsI386(path string) testutil.Need {
	return testutil.Need{
		What:   "a kernel that takes system calls of i386",
		Remedy: "boot another kernel (amd64, with CONFIG_IA32_EMULATION, without ia32_emulation=0)",
		Met: func() bool {
			return exec.Command(path, "i386").Run() == nil // else it is killed
		},
	}
}

// How many tasks there are where one is like the other.
var some, many = size{50, 100, 300}, size{200, 400, 2000}

// cases are the runs of the workload that every source is held to. The
// numbers can be counted in testdata/workload.c.
var cases = []testCase{
	{name: "true", args: "true",
		why: "A command that does nothing."},
	{name: "exit", args: "exit 3",
		why: "The exit status is the command's own."},
	{name: "suicide-kill", args: "suicide 9",
		why: "The command is killed by SIGKILL."},
	{name: "suicide-term", args: "suicide 15",
		why: "The command is killed by SIGTERM."},
	{name: "stdio", args: "stdio", extra: checkStdio,
		why: "The command's files, limits and signal dispositions are those it was given."},

	{name: "fork", args: "fork", size: some,
		why: "N forks are N inits, clones, exits and frees, each with its own exit code."},
	{name: "exec", args: "exec 50", made: 50, execs: 51,
		why: "N forks and execs of programs that end at once; argv, exe and cwd are complete."},
	{name: "argv", args: "argv", made: 6, execs: 7,
		why: "Arguments: empty, with line ends, not UTF-8, 100 KiB long, 1000 of them, none."},
	{name: "cwd", args: "cwd", made: 1, execs: 2,
		why: "A program by a relative path and a symbolic link, in another directory: exe is absolute and resolved."},
	{name: "thread", args: "thread", size: some,
		why: "N threads are N inits, clones, exits and frees; the process goes on."},
	{name: "vfork", args: "vfork 20", made: 20, execs: 11,
		why: "vfork children share the memory of a parent that waits; half run a program."},
	{name: "posix-spawn", args: "posix-spawn 10", made: 10, execs: 11,
		why: "The C library makes processes by clone with CLONE_VM and CLONE_VFORK."},
	{name: "clone3", args: "clone3 6", made: 6,
		why: "The flags of clone3 stand in memory, not in a register."},
	{name: "clone-vm", args: "clone-vm 6", made: 6,
		why: "Processes that share memory or files and are no threads."},
	{name: "clone-parent", args: "clone-parent", made: 3,
		why: "CLONE_PARENT makes a sibling; a child may have no exit signal."},
	{name: "exec-thread", args: "exec-thread 3", made: 15, execs: 5,
		why: "An exec by a thread that is not the leader takes over the leader's tid; all others end."},
	{name: "exec-fail", args: "exec-fail", made: 1, execs: 1,
		why: "Execs that fail are no events, and fail as they would alone."},
	{name: "script", args: "script", made: 2, execs: 3,
		why: "A #! script, and one whose interpreter is a script."},
	{name: "execveat", args: "execveat", made: 1, execs: 2,
		why: "execveat of a descriptor without a path."},

	{name: "daemon", args: "daemon", made: 2,
		why: "A daemon by double fork; its parent is gone before it ends."},
	{name: "orphan", args: "orphan", made: 2, execs: 2,
		why: "A descendant outlives the command and starts another program."},
	{name: "zombie", args: "zombie 5", made: 5,
		why: "Children that nobody waits for are freed when the command has ended."},
	{name: "autoreap", args: "autoreap 5", made: 5,
		why: "Children of a parent that ignores SIGCHLD are freed without a wait."},
	{name: "killed", args: "killed", made: 8,
		why: "Processes killed by signals, with the core flag where a core was dumped."},
	{name: "kill-threads", args: "kill-threads", made: 4,
		why: "SIGKILL ends all threads of a process."},
	{name: "exit-group", args: "exit-group", made: 7,
		why: "exit_group by a thread ends all others with the same code."},
	{name: "leader-first", args: "leader-first", made: 8, execs: 4,
		why: "The leader of a process ends first; a thread runs on and makes children."},
	{name: "stop", args: "stop", made: 1,
		why: "Stopped and continued by signals: no event, and the parent sees it as ever."},
	{name: "signals", args: "signals 100", made: 1,
		why: "Signals arrive one by one, with their value, code and sender."},

	{name: "ids-none", args: "ids-none",
		why: "set*id calls that change nothing are no events."},
	{name: "ids", args: "ids", made: 11, uids: 13, gids: 8, needs: root,
		why: "Every set*id call: old and new ids, and nothing where nothing changed or the call failed."},
	{name: "ids-threads", args: "ids-threads", made: 16, uids: 5, gids: 5, needs: root,
		why: "The C library changes the ids of every thread, the bare system call those of its caller."},
	{name: "setgroups", args: "setgroups", made: 5, uids: 1, gids: 11, needs: root,
		why: "Each setgroups that succeeds is a gid event with a cause of its own and the ids as they were; one that fails is none."},
	{name: "ids-exec", args: "ids-exec", made: 3, execs: 4, uids: 5, gids: 5, needs: root,
		why: "Ids that change in an exec: by a set-id file, and saved ids that become the effective ones."},

	{name: "untraced", args: "untraced", made: 4, execs: 2, untraced: true,
		why: "CLONE_UNTRACED hides nobody."},
	{name: "untraced-asked", args: "untraced", made: 4, execs: 2, asked: true,
		why: "A child by CLONE_UNTRACED can do what others can, with watchers that are asked before."},
	{name: "nodump", args: "nodump", made: 5, execs: 2,
		why: "Threads and children of a process that nobody may look at are what they are."},
	{name: "nodump-asked", args: "nodump", made: 5, execs: 2, asked: true,
		why: "Watchers are asked about a process that nobody may look at."},
	{name: "closed", args: "closed", made: 6, execs: 3,
		why: "A program that may be executed and not read closes its process."},
	{name: "roots", args: "roots", made: 2, execs: 3, needs: roots,
		why: "exe and cwd are those of the task's own root, after chroot and after pivot_root."},
	{name: "own-filter", args: "own-filter", made: 4,
		why: "A filter that asks for a tracer has none, and what other filters say holds."},
	{name: "own-filter-asked", args: "own-filter", made: 4, asked: true,
		why: "A filter that asks for a tracer has none, with watchers that are asked before."},
	{name: "listener", args: "listener", made: 9, execs: 2, uids: 3, gids: 1, needs: listener,
		why: "Ids that change in calls which a listener lets go on."},
	{name: "siblings", args: "siblings 5", made: 5, siblings: true,
		why: "CLONE_PARENT by the command makes children of its parent, which are reaped while it runs."},
	{name: "i386", args: "i386", made: 5, execs: 2, uids: 1, gids: 1, needs: root, i386: true,
		why: "System calls of i386 in a 64-bit program are what they are there."},

	{name: "fork-fail", args: "fork-fail", made: 3, failed: 6,
		why: "A fork that fails after init is an init and a free; a later one is not confused."},
	{name: "fork-fail-asked", args: "fork-fail", made: 3, failed: 6, asked: true,
		why: "A source that asks before a fork sees every fork that fails after that."},
	{name: "exec-fail-asked", args: "exec-fail", made: 1, asked: true,
		why: "Execs that fail after the watchers were asked are no events for observers."},
	{name: "exec-thread-asked", args: "exec-thread 3", made: 15, execs: 5, asked: true,
		why: "An exec by a thread, with watchers that are asked before."},
	{name: "vfork-asked", args: "vfork 20", made: 20, execs: 11, asked: true,
		why: "A vforked child execs while its parent waits, with watchers that are asked before."},
	{name: "script-asked", args: "script", made: 2, execs: 3, asked: true,
		why: "Watchers are asked about a script once, and observers see it once."},
	{name: "ids-asked", args: "ids", made: 11, uids: 13, gids: 8, asked: true, needs: root,
		why: "Calls that change nothing or fail are no events, with watchers that are asked before."},
	{name: "setgroups-asked", args: "setgroups", made: 5, uids: 1, gids: 11, asked: true, needs: root,
		why: "Each setgroups that succeeds is an event, with watchers that are asked before."},
	{name: "ids-threads-asked", args: "ids-threads", made: 16, uids: 5, gids: 5, asked: true, needs: root,
		why: "Every thread's own change, with watchers that are asked before."},
	{name: "followed", args: "fork", size: some, followed: true,
		why: "Each task meets one of attach and init, and one of free and detach."},
	{name: "followed-exec-thread", args: "exec-thread 3", made: 15, execs: 5, followed: true,
		why: "A task that takes another's tid, and the one that loses it, meet a beginning and an end each."},
	{name: "followed-fork-fail", args: "fork-fail", made: 3, failed: 6, followed: true, asked: true,
		why: "A task whose fork fails after init has met a beginning, and meets an end."},
	{name: "pid-reuse", args: "pid-reuse 20", made: 21, needs: root,
		why: "One pid many times is as many tasks."},
	{name: "many", args: "many", size: many,
		why: "Hundreds of processes at the same time; at night thousands."},
	{name: "many-threads", args: "many-threads", size: many,
		why: "Hundreds of threads at the same time; at night thousands."},
	{name: "usage", args: "usage", made: 3, extra: checkUsage,
		why: "What a task used is what it saw itself shortly before it ended; a thread's is not its process's."},
}

// short are the cases of a short run: those whose events come from different
// places of the kernel, or in an order that changed between versions.
func short() []testCase {
	return named("exec", "vfork", "clone3", "exec-thread", "leader-first", "exit-group",
		"ids", "ids-threads", "setgroups", "ids-exec", "fork-fail", "usage", "followed-exec-thread", "followed-fork-fail")
}

// mixed are the cases that are run once more for a kind alone: for each kind all of
// them at night, and by day two that have such events.
func mixed(k taskwatch.Kind) []testCase {
	root := os.Geteuid() == 0
	if !testutil.NeedsNightly.Met() {
		if ids := k == taskwatch.UID || k == taskwatch.GID; ids && root {
			return named("ids-threads", "ids-exec")
		}
		return named("exec-thread", "fork-fail")
	}
	names := []string{"exec-thread", "vfork", "leader-first", "fork-fail", "autoreap"}
	if root {
		names = append(names, "ids-threads", "setgroups", "ids-exec")
	}
	return named(names...)
}

func named(names ...string) []testCase {
	var list []testCase
	for _, c := range cases {
		if slices.Contains(names, c.name) {
			list = append(list, c)
		}
	}
	if len(list) != len(names) {
		panic("watchtest: no such case among " + strings.Join(names, ", "))
	}
	return list
}

// checkStdio checks that the command's files are the very files it was given.
func checkStdio(r *run) {
	if len(r.truth.stdio) != 3 {
		r.problem("the workload reported %d standard files", len(r.truth.stdio))
		return
	}
	for i, f := range r.truth.stdio {
		st := r.files[i].Sys().(*syscall.Stat_t)
		if f.Dev != uint64(st.Dev) || f.Ino != st.Ino {
			r.problem("file descriptor %d of the command is another file than it was given", i)
		}
	}
	if string(r.stderr) != stdinText {
		r.problem("the command copied %q from stdin to stderr, want %q", r.stderr, stdinText)
	}
}

// checkUsage checks that the workload really used what the case needs.
func checkUsage(r *run) {
	var st unix.Statfs_t
	if err := unix.Statfs(os.TempDir(), &st); err != nil {
		r.problem("%v", err)
	}
	var burnt, touched, slept bool
	written := st.Type == unix.TMPFS_MAGIC // what is written there is no I/O
	for _, l := range r.truth.lives {
		if u := l.usage; u != nil {
			burnt = burnt || u.CPUNS >= 140e6
			touched = touched || u.MaxRSS >= 32<<20
			slept = slept || u.NVCSw >= 10
			written = written || u.WriteBytes >= 256<<10
		}
	}
	if !burnt || !touched || !slept || !written {
		r.problem("the workload used too little to tell: CPU %v, memory %v, sleep %v, disk %v", burnt, touched, slept, written)
	}
}
