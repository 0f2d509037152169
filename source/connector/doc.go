// Package connector watches all tasks of the machine through the kernel's
// process events connector (cn_proc, a netlink protocol). Since Linux 6.6
// anybody may use it; before that it needs CAP_NET_ADMIN. It works only in
// the initial pid and user namespaces.
//
// It delivers clone, exec, uid, gid and exit. There is no init and no free,
// and no veto: everything has already happened when it is told.
//
// # Where the facts come from
//
// The kernel's messages hold ids, the exit code and the time. The rest is
// followed from event to event in a table that begins with what /proc knows
// at the start, and is read from /proc when an exec or a change of ids is
// told:
//
//   - clone: a new task has the program, name and ids of its creator.
//   - exec: comm, exe, argv, cwd, cgroup and ppid are read from /proc. A task
//     that has ended, or has run another program, before that leaves them
//     missing. A program that changes its directory, its name or its argument
//     area at once may be read after the change. Without privileges exe and
//     cwd of other users' tasks cannot be read.
//   - uid, gid: saved and file system ids are read from /proc; if the task
//     has ended or changed its ids again by then, the ids are missing until an
//     exec, which makes them the effective ones, that the kernel tells.
//   - cwd and cgroup can change without an event, so they are told at an exec
//     only.
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
// leader: about one in 1,000 execs by threads is told as the leader's, with the
// ends of the two exchanged.
//
// # Loss
//
// Each message carries a number that counts the messages of its CPU. A gap
// shows in the next message of that CPU, and is told to Feed.Deliver
// there, with the count of the missing messages, whatever they were; a full socket buffer (ENOBUFS) after which no
// gap shows is told with the count 0. Then the table is brought in line with
// /proc: tasks that are new there are known from then on, and tasks that are
// gone are forgotten. No events are made up for either.
//
// The kernel (since 6.6) could leave out kinds that nobody watches. It is not
// asked to: what it leaves out it still counts, so that gaps would say
// nothing, and the table needs all kinds anyway.
package connector
