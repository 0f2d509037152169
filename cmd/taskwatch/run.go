package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/label"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
)

// runFlags are the flags of run.
type runFlags struct {
	outputFlags
	modules  moduleFlags
	source   string
	socket   string
	pid      int
	attaches func() bool // to a process, rather than run a command
	dryRun   bool
	drop     bool
	kill     bool
	tui      bool
	label    string
}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG...]\n  taskwatch run [flags] -p PID",
		Short: "Watch one command, or one process, and all its descendants",
		Long: `run starts COMMAND and shows what happens to it and to all its descendants,
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

` + summaryHelp,
		Example: `  taskwatch run -- make -j2
  taskwatch run -e exec -- sh -c 'cc -o hello hello.c && ./hello'
  taskwatch run -f json -o events.jsonl -- make -j2
  taskwatch run --summary -o /dev/null -- make -j2
  taskwatch run --tui -- make -j2
  taskwatch run -m rule.wasm -- make -j2
  sudo taskwatch run -e exec -p 1234
  sudo taskwatch run -m count.o --globals -- make -j2
  sudo taskwatch run --label job-7 -- make -j2
  taskwatch run -e clone,exit --threads -- cc -o hello hello.c`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && !f.attaches() {
				return runUsage(errors.New("no command given: taskwatch run [flags] -- COMMAND [ARG...], or -p PID"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.attaches = func() bool { return cmd.Flags().Changed("pid") }
	cmd.Flags().SetInterspersed(false) // what follows the command is the command's
	cmd.Flags().SortFlags = false
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return runUsage(flagError(err)) })
	f.outputFlags.add(cmd)
	f.modules.add(cmd, "at the end")
	f.modules.addObserveOnly(cmd)
	cmd.Flags().StringVar(&f.source, "source", auto.Name, "`where` events come from: "+strings.Join(commandSourceNames(), ", "))
	cmd.Flags().StringVar(&f.socket, "socket", daemon.DefaultSocket, "the daemon of --source daemon serves at this `path`")
	cmd.Flags().IntVarP(&f.pid, "pid", "p", 0, "watch the running process with this `pid` and its descendants")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what modules would deny, and deny nothing")
	cmd.Flags().BoolVar(&f.drop, "drop", false, "drop events that cannot be written fast enough, and write how many,\ninstead of making the command wait")
	cmd.Flags().BoolVar(&f.kill, "kill-on-exit", false, "when the command ends, kill the processes that it left running,\ninstead of waiting for them")
	cmd.Flags().StringVar(&f.label, "label", "", "label the command and its descendants with this `value`; needs bpf")
	cmd.Flags().BoolVar(&f.tui, "tui", false, "show the tree on a screen, as top does, and the command in a terminal below it")
	complete(cmd, "source", cobra.FixedCompletions(commandSourceNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// addLabel adds the module that labels the command, which is the only process that
// taskwatch makes and that stays. A label that is an id is that of the trace, too.
func (f *runFlags) addLabel() error {
	if f.attaches() {
		return errors.New("there is no command to label with -p; use 'taskwatch label PID VALUE' for a process that runs")
	}
	value, err := label.Parse(f.label)
	if err != nil {
		return err
	}
	f.trace = value.ID()
	f.modules.specs = append(f.modules.specs, fmt.Sprintf("%s,value=%v,children=%d,records=y", label.Module, value, os.Getpid()))
	return nil
}

// readsOptional reports whether optional fields are read, as far as can be told before
// the outputs are open, or may be read later: a screen has a filter.
func (f *runFlags) readsOptional() bool {
	return f.tui || f.fields != "" || f.where.filter != nil || f.table.list != "" || f.env.diff || len(f.modules.specs) > 0
}

// backlog returns what becomes of events that cannot be written fast enough.
func (f *runFlags) backlog() backlog {
	switch {
	case f.drop:
		return drop
	case len(f.files) > 0:
		return queued
	}
	return holdUp
}

func runUsage(err error) error {
	return &exitError{status: exitRunFailed, err: err, usage: true}
}

func runFailed(err error) error { return &exitError{status: exitRunFailed, err: err} }

func (f *runFlags) run(cmd *cobra.Command, argv []string) error {
	var (
		inherit *source.Inheritance
		relay   *relay
		err     error
	)
	if relay, err = newRelay(f.tui); err != nil {
		return runFailed(err)
	}
	if !f.attaches() {
		inherit = source.Inherit() // at once: what goes off now must not be lost
	} else if err := relay.caught.Close(); err != nil { // signals are for taskwatch
		return runFailed(err)
	}
	f.screen = f.tui
	if cmd.Flags().Changed("label") {
		if err := f.addLabel(); err != nil {
			return runFailed(fmt.Errorf("--label: %w", err))
		}
	}
	if err := errors.Join(f.check(cmd), f.modules.check()); err != nil {
		return runFailed(err)
	}
	if cmd.Flags().Changed("socket") && f.source != daemon.SourceName && slices.Contains(commandSourceNames(), f.source) {
		return runFailed(errSocket)
	}
	if f.tui {
		if err := f.checkScreen(); err != nil {
			return runFailed(fmt.Errorf("--tui: %w", err))
		}
	}
	if err := errors.Join(checkProc(), checkLimits()); err != nil {
		return runFailed(err)
	}
	if f.attaches() {
		if err := f.checkPID(argv); err != nil {
			return runFailed(err)
		}
	}
	files, err := f.modules.parse()
	if err != nil {
		return runFailed(err) // before anything is tried that needs privileges
	}
	defer files.close()
	if runtime.GOMAXPROCS(0) == 1 {
		// The tracing thread blocks in wait; with one P, each wait would have
		// to hand it over and get it back.
		runtime.GOMAXPROCS(2)
	}
	if f.attaches() {
		return f.attach(files)
	}
	var (
		reg  taskwatch.Registry
		told notices
		left leftBehind
	)
	screen, err := f.openScreen(argv, relay)
	if err != nil {
		return runFailed(err)
	}
	defer screen.close()
	if f.exporter != nil {
		if err := os.Setenv("TRACEPARENT", f.exporter.Traceparent()); err != nil { // for the command
			return runFailed(err)
		}
	}
	src, passed, err := openCommand(f.source, &command{
		argv: argv, inherit: inherit, pane: screen.pane(), dryRun: f.dryRun, notice: told.tell, stop: relay.stopped, gone: left.settle,
		kernel: files.kernel(), optional: f.readsOptional(), veto: files.veto() && !f.modules.observeOnly, socket: f.socket,
	})
	if err != nil {
		return startFailed(argv[0], err, 0)
	}
	out, err := f.open(os.Stderr)
	if err != nil {
		return runFailed(errors.Join(err, src.Close()))
	}
	out.command = argv
	if err := out.attach(&reg, src, f.backlog()); err != nil {
		_ = out.close() // nothing was written
		return runFailed(errors.Join(err, src.Close()))
	}
	if err := screen.attach(&reg, src); err != nil {
		return runFailed(errors.Join(err, out.close(), src.Close()))
	}
	if err := left.watch(&reg, src, f.kill); err != nil {
		return runFailed(errors.Join(err, src.Close()))
	}
	modules, err := files.start(src, &reg, &f.modules)
	if err != nil {
		_ = out.close() // nothing was written
		return runFailed(err)
	}
	if passed != nil {
		say("watching with the source %s, not with a better one: %s", src.Name(), auto.OneLine(passed))
	}
	if err := relay.start(src, out.flush); err != nil {
		_ = out.close() // nothing was written
		return runFailed(errors.Join(err, modules.close(), src.Close()))
	}
	err = screen.run(func(ctx context.Context) error {
		defer left.close() // nobody waits for it any more, but perhaps for the screen
		return src.Run(ctx, &reg)
	}, src.Close)
	err = errors.Join(err, relay.close())
	if err != nil {
		out.incomplete()
	}
	var outErr error
	if errors.As(err, new(*daemon.GoneError)) { // the command itself has come to its end
		err, outErr = nil, err
	}
	outErr = errors.Join(outErr, modules.drain())
	outErr = errors.Join(outErr, out.close())
	if f.modules.globals && err == nil {
		outErr = errors.Join(outErr, modules.show(os.Stderr))
	}
	outErr = errors.Join(outErr, modules.close())

	if err != nil {
		return startFailed(argv[0], err, relay.endedBy())
	}
	status := shellStatus(src.Exit())
	if outErr != nil {
		if status == 0 {
			return runFailed(outErr)
		}
		return &exitError{status: status, err: outErr}
	}
	return ended(status)
}

// shellStatus returns the exit status with which a shell reports e.
func shellStatus(e taskwatch.ExitStatus) int {
	if e.Signal != 0 {
		return exitSignal + e.Signal
	}
	return e.Code
}

// startFailed returns what becomes of an error of a source, in words like a
// shell's where it is about the command.
func startFailed(name string, err error, signal syscall.Signal) error {
	var e *source.StartError
	if !errors.As(err, &e) {
		return runFailed(err)
	}
	why := errors.Unwrap(e)
	switch {
	case errors.As(why, new(syscall.Errno)), errors.Is(why, fs.ErrNotExist), errors.Is(why, fs.ErrPermission):
	case signal != 0:
		return ended(exitSignal + int(signal)) // it came before the command did
	default:
		return runFailed(err)
	}
	return &exitError{status: e.ShellStatus(), err: errors.New(shellMessage(name, why))}
}
