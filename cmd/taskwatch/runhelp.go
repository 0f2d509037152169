package main

// runHelp is what run does, in the words of its help.
const runHelp = `run starts COMMAND and shows what happens to it and to all its descendants,
threads and daemons included, until the last of them has ended. It needs no
privileges.

The command keeps its standard input, output and error. Events go to standard
error, or to a file with --output. No event is lost: if standard error is read
slowly, or 64 MiB wait to be written to a file, the command waits, unless --drop
is given. On a terminal, taskwatch cuts long lines of text to its width and
marks the cut. With the format json, the events are a recording for 'taskwatch
replay'. The summary goes to standard error.

The exit status is the command's own, or 128 plus the number of the signal that
killed it, or:

    127  the command was not found
    126  the command could not be executed
    125  taskwatch itself failed, or the command ended with 0 but not all
         events could be written; the command runs on in that case, and a
         message follows at the end

Ctrl-C, Ctrl-\ and Ctrl-Z are for the command: taskwatch ends after it, and
stops when it stops. taskwatch passes signals that are sent to it alone on to
the command: SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM,
SIGVTALRM, SIGPROF, SIGXCPU, SIGIO, SIGPWR, SIGABRT, SIGWINCH and the real-time
signals from 35 on, these with their values. A signal that is sent to the
process group reaches the command anyway, and only once. Under ptrace it arrives
twice if the command blocks it and fetches it with signalfd or sigwait, and with
the daemon unless the terminal or the command's own tree sends it. taskwatch
does not pass on signals that the command's own tree sends to it. A signal that
comes before the command has started ends taskwatch if it would end the command.
Once the command has ended, SIGINT, SIGQUIT, SIGTERM and SIGHUP kill the
processes that it left running; --kill-on-exit kills them at once. Without it,
run says after a second what it waits for.

With --tui the screen is that of 'taskwatch top', with what happens to the
command and its descendants, and below it a terminal of the command's own, in
which it runs. Keys are for the command; Ctrl-] moves them to the tree and back.
The command leads a session and gets the size of its part of the screen, TERM is
xterm-256color, and the keyboard's signals come from that terminal. At the end
the screen stays for a look, and q leaves it; while the command runs, q pressed
twice kills it and all its descendants. Events are written to files only (-o). A
signal that asks taskwatch to end goes to the command, and the screen ends with
it. On fewer than 13 lines only the part with the keys is seen.

There are three sources. bpf needs root, or CAP_BPF and CAP_PERFMON, and is the
default if it works. It costs the command almost nothing, except about 50 ms at
the start.

If bpf does not work, ptrace is the default, and one line says why; --source
ptrace avoids that line. ptrace stops the tasks at every event, and restricts
them: they cannot trace each other, and without privileges setuid and setgid
files run with the ids of their caller.

With --source daemon, the daemon ('taskwatch serve') watches the command and its
descendants. This needs no privileges but those of its group, no programs have
to be loaded, and modules cannot deny anything. Nothing waits for the events: if
they are read too slowly, they are lost, and the loss is shown. If the daemon is
restarted, run goes on, behind a loss. If it has not come back after 30 seconds,
the command goes on unwatched, and run ends with it.

If taskwatch is killed by SIGKILL, everything that it watches dies too. Under
bpf before Linux 6.16, and with the daemon, only the command itself dies, unless
it has changed its ids.

With -p PID there is no command: run watches a running process with its threads
and its descendants, and ends when the last of them has ended. Ctrl-C, SIGTERM,
SIGHUP, or any other end of taskwatch leaves the process running unharmed.
Events go to standard output. If the process has ended, the exit status is that
of the process, as with a command; otherwise it is 0. bpf needs root and works
like 'watch --pid'. ptrace works for your own processes, if Yama allows it. It
puts nothing into the process, so modules cannot deny anything, and it reports a
change of ids at the next fork, exec or exit. As with strace -p, a waiting
system call may be interrupted (EINTR), once at the beginning and once at the
end. Under ptrace Ctrl-Z does nothing: the process could not go on while
taskwatch is stopped.

Otherwise the command finds the same environment as without taskwatch, except
for what Go's run time changes before taskwatch can see it. A standard file that
was closed is /dev/null. Signals that were ignored are no longer ignored, except
SIGHUP, SIGINT, SIGTSTP, SIGTTIN and SIGTTOU. Signals that were blocked stay
blocked, except SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD, SIGURG, SIGPROF and
those of errors. Under ptrace the command can see its tracer (TracerPid) and a
filter of system calls (Seccomp, NoNewPrivs). Under bpf before Linux 6.16,
and with the daemon, it can see that SIGKILL follows the death of its parent
(PR_GET_PDEATHSIG).

A module given with --module is called for all events, shown or not. Its errors
and its records are shown among the events. A .wasm runs in a sandbox and needs
no privileges; if it asks for a veto, ptrace becomes the default. A .o runs in
the kernel, for every task of the machine, and needs bpf. Its errors and records
are shown only for tasks of the tree.

With --label VALUE the command, its descendants and their daemons have a label,
such as the id of a job; see 'taskwatch label'. The stock module label keeps it
in the kernel, so this needs bpf. Its records say which processes have it. If it
is an id, 32 hexadecimal digits, it is the trace id of spans, too (--otlp,
.otlp.jsonl).

`
