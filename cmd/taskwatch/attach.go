package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// checkPID reports what is wrong with -p.
func (f *runFlags) checkPID(argv []string) error {
	switch {
	case len(argv) > 0:
		return fmt.Errorf("-p and a command (%s) exclude each other; give one of them", argv[0])
	case f.kill:
		return errors.New("--kill-on-exit works only with a command; run -p leaves the process running")
	}
	if pid, err := processOf("-p", f.pid); err == nil { // else CheckPID says what is wrong
		f.pid = pid
	}
	if err := source.CheckPID(f.pid); err != nil {
		return fmt.Errorf("-p: %w", err)
	}
	return nil
}

// attach watches a running process until its tree has gone, or a signal has it
// left.
func (f *runFlags) attach(files moduleFiles) error {
	if f.dryRun && !files.kernel() {
		return runFailed(errors.New("--dry-run: with -p only modules in the kernel (-m FILE.o) can deny something; leave --dry-run out"))
	}
	ctx, cancel := untilSignal()
	defer cancel()
	var (
		reg    taskwatch.Registry
		told   notices
		src    source.Supervisor
		passed error
		err    error
	)
	src, passed, err = openCommand(f.source, &command{
		pid: f.pid, dryRun: f.dryRun, notice: told.tell, kernel: files.kernel(), failed: f.failed(),
		ready: func() {
			say("%s; Ctrl-C ends the watching", watching(fmt.Sprintf("process %d and its descendants", f.pid), src, passed))
		},
	})
	if err != nil {
		return runFailed(err)
	}
	out, err := f.open(os.Stdout)
	if err != nil {
		return runFailed(errors.Join(err, src.Close()))
	}
	out.broken = cancel
	if err := out.attach(&reg, src, f.backlog()); err != nil {
		return runFailed(errors.Join(err, out.close(), src.Close()))
	}
	modules, err := files.start(src, &reg, &f.modules)
	if err != nil {
		out.abandon()
		return runFailed(err)
	}
	if src.Name() == ptrace.Name {
		// What stops a tracer stops the process at its next event, too. If that is the
		// shell, it could not continue the tracer.
		signal.Ignore(unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
	}
	if err = src.Run(ctx, &reg); err != nil {
		out.incomplete()
	}
	err = errors.Join(err, modules.drain(), out.close())
	if f.modules.globals && err == nil {
		err = modules.show(os.Stdout)
	}
	if err = errors.Join(err, modules.close()); err != nil {
		return runFailed(err)
	}
	return ended(shellStatus(src.Exit()))
}
