// Package connector watches all tasks of the machine through the kernel's
// process events connector (cn_proc, a netlink protocol). Since Linux 6.6
// it needs no privileges; before that it needs CAP_NET_ADMIN. It works only in
// the initial pid and user namespaces.
//
// It delivers clone, exec, uid, gid and exit. It has no init, no free and no
// veto: every operation has already happened when the kernel reports it.
//
// # Where the facts come from
//
// The kernel's messages hold ids, the exit code and the time. The source keeps
// everything else of each task. It reads the tasks that exist from /proc at the
// start, and reads /proc again when an exec or a change of ids is reported:
//
//   - clone: a new task has the program, name and ids of its creator.
//   - exec: comm, exe, argv, cwd, cgroup and ppid are read from /proc. A task
//     that has ended or run another program by then leaves them missing. If a
//     program changes its directory, its name or its argument area at once, the
//     source may read the new ones. Without privileges exe and
//     cwd of other users' tasks cannot be read.
//   - A thread of the kernel, or a worker of io_uring, gets its name without a
//     message. It is read at each event; where that is too late and the task may
//     have got a name meanwhile, comm is missing.
//   - uid, gid: saved and file system ids are read from /proc; if the task
//     has ended or changed its ids again by then, the ids are missing until an
//     exec, which sets them to the effective ones that the kernel reports.
//   - gid: the kernel has no message for setgroups, so it is no event here.
//   - cwd and cgroup can change without an event, so only an exec has them.
//   - start_ns is read from /proc, in steps of 10 ms, and missing if the task is
//     gone by then.
//
// A field that may be missing is declared in Capability.MayMiss, and listed
// in the event's Missing where it is.
//
// # Who created whom
//
// The kernel names the real parent of a new task. That is its creator, unless
// the task is a thread (then parent_id is missing if the process had several)
// or was made with CLONE_PARENT: it then counts as made by its parent, with
// the parent's program and ids until its first exec.
//
// # Who called exec
//
// A thread that calls exec takes over the tid of its process's leader, which
// ends. The leader is given the thread's tid meanwhile (exchange_tids in the
// kernel's fs/exec.c), and if that comes before it has sent the message of its
// exit (do_exit in kernel/exit.c), the messages are those of an exec by the
// leader: about one in 1,000 execs by threads is reported as the leader's, with
// the ends of the two exchanged.
//
// # Loss
//
// Each message carries a number that counts the messages of its CPU. A gap
// shows in the next message of that CPU. The source then delivers a loss with
// the number of missing messages of all kinds. If the socket buffer was full
// (ENOBUFS) and no gap shows, it delivers a loss with the count 0. Then it
// updates the known tasks from /proc: it adds those that are new there and forgets
// those that are gone. It makes up no events for either.
//
// The kernel (since 6.6) could leave out kinds that nobody watches. The source
// does not use that: the kernel still counts what it leaves out, so gaps would
// mean nothing, and to know the tasks takes all kinds anyway.
package connector
