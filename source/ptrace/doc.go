// Package ptrace watches one command, or one process that runs already, and all
// its descendants, threads included, through ptrace. It needs no privileges and
// loses no events: every task waits at its events until the watchers have
// returned, so a watcher's error on init, exec, uid or gid can deny the
// operation.
//
// # Requirements
//
// Linux 5.3 (PTRACE_GET_SYSCALL_INFO) on amd64 or arm64. Set-id calls and
// vetoes need seccomp in the kernel; without it they are declared absent.
//
// # What is different for the command
//
//   - A task has one tracer. A command that traces others itself (strace, gdb)
//     gets EPERM from ptrace, and Config.OnNotice is called.
//
//   - Without CAP_SYS_ADMIN the command runs with no_new_privs, which a seccomp
//     filter needs: a setuid or setgid file runs with the ids of its caller.
//     The kernel ignores set-id files under an unprivileged tracer anyway.
//
//   - seccomp's strict mode cannot be entered behind a filter (EINVAL), and
//     PR_GET_SECCOMP says that there is one. The command's own filters work; if they ask for a tracer, there is none (ENOSYS).
//
//   - When the tracing process ends, the kernel kills the whole tree
//     (PTRACE_O_EXITKILL).
//
//   - A signal that this process passes on waits for a moment: see Reached. A
//     command that blocks a signal and fetches it (sigwaitinfo, signalfd) does
//     not stop for it, so Reached cannot see it.
//
// Everything else passes through: signals, stops, job control, exit statuses,
// open files, the environment.
//
// # What is not seen
//
//   - The workers of io_uring, which the kernel makes in a process that uses it:
//     they are never traced. They run no code of the program's, call no program
//     and change no ids.
//   - System calls that a seccomp filter of the command's own, with a listener,
//     lets go on do not stop. From the first such filter on, the source compares
//     ids and children at each fork, exec and exit, and delivers there, as
//     final, what no stop has shown, but for setgroups.
//   - Of a process that the user may not look at (not dumpable, or a program
//     that may be executed and not read), exe, argv, cwd and the flags of clone3
//     are missing, from the exec on and in its children.
//
// # Stops
//
// A fork costs two stops (parent and child), an exec one, and an exit none,
// except for tasks that have created others. System calls run at full speed,
// except those that a seccomp filter picks out: the set-id calls, ptrace, seccomp, unshare
// and setns; clone with CLONE_UNTRACED, which is cleared, and any clone3, whose
// flags a filter cannot see; and fork or execve where a watcher may veto them.
//
// # A process that runs already
//
// With Config.PID nothing is put into the process: no filter, no no_new_privs.
// So nothing can be denied. The source finds a change of ids by comparison at
// the next fork, exec or exit. It does not see failed execs, or tasks created
// with CLONE_UNTRACED. Each task stops once when it is seized, to complete a
// fork that began before, and once when it is detached. A waiting system call
// may then return EINTR, as after SIGSTOP and SIGCONT (signal(7)). If this
// process dies, the kernel detaches the tree. Descendants are found in
// /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN); those whose parents had
// already ended are not found. A descendant that belongs to another user is
// left out, and Config.OnNotice is called.
//
// # Signals of this process
//
// While the program runs, SIGCHLD does not report children that stop, and
// SIGURG, with which the Go runtime preempts threads, interrupts system calls
// instead of restarting them; Go's own libraries cope, cgo code may notice.
package ptrace
