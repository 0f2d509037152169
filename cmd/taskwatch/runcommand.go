package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
)

// commandRun is a command that is watched from its start to its end.
type commandRun struct {
	flags   *runFlags
	argv    []string
	relay   *relay
	inherit *source.Inheritance

	reg     taskwatch.Registry
	told    notices
	left    leftBehind
	screen  *commandScreen // or nil
	src     source.Supervisor
	out     *output
	modules *modules
}

// run returns how the command has ended, as an exit status, or why it was not watched.
func (c *commandRun) run(files moduleFiles) (err error) {
	if c.screen, err = c.flags.openScreen(c.argv, c.relay); err != nil {
		return runFailed(err)
	}
	defer c.screen.close()
	passed, err := c.open(files)
	if err != nil {
		return startFailed(c.argv[0], err, 0)
	}
	if err := c.attach(files); err != nil {
		return runFailed(err)
	}
	if passed != nil {
		say("watching with the source %s, not with a better one: %s", c.src.Name(), auto.OneLine(passed))
	}
	if err := c.relay.start(c.src, c.out.flush); err != nil {
		c.out.abandon()
		return runFailed(errors.Join(err, c.modules.close(), c.src.Close()))
	}
	return c.end(c.watch())
}

// open opens the source. passed says why it is not a better one, if that was tried.
func (c *commandRun) open(files moduleFiles) (passed, err error) {
	f := c.flags
	if f.exporter != nil {
		if err := os.Setenv("TRACEPARENT", f.exporter.Traceparent()); err != nil { // for the command
			return nil, err
		}
	}
	var noVeto func(source string) error
	if !f.modules.observeOnly {
		noVeto = files.noVeto()
	}
	c.src, passed, err = openCommand(f.source, &command{
		argv: c.argv, inherit: c.inherit, pane: c.screen.pane(), dryRun: f.dryRun, notice: c.told.tell, stop: c.relay.stopped, gone: c.left.settle,
		kernel: files.kernel(), optional: f.readsOptional(), noVeto: noVeto, socket: f.socket,
	})
	return passed, err
}

// attach attaches what takes the items, and starts the modules. With an error, the
// source is closed.
func (c *commandRun) attach(files moduleFiles) (err error) {
	f := c.flags
	if c.out, err = f.open(os.Stderr); err != nil {
		return errors.Join(err, c.src.Close())
	}
	c.out.command = c.argv
	err = c.out.attach(&c.reg, c.src, f.backlog())
	if err == nil {
		err = c.screen.attach(&c.reg, c.src)
	}
	if err == nil {
		err = c.left.watch(&c.reg, c.src, f.kill)
	}
	if err != nil {
		err = errors.Join(err, c.src.Close())
	} else {
		c.modules, err = files.start(c.src, &c.reg, &f.modules)
	}
	if err != nil {
		c.out.abandon()
	}
	return err
}

// watch runs the source until the command and what it has started have ended.
func (c *commandRun) watch() error {
	err := c.screen.run(func(ctx context.Context) error {
		defer c.left.close() // nobody waits for it any more, but perhaps for the screen
		return c.src.Run(ctx, &c.reg)
	}, c.src.Close)
	err = errors.Join(err, c.relay.close())
	if err != nil {
		c.out.incomplete()
	}
	return err
}

// end closes what attach has made. The error is that of watch.
func (c *commandRun) end(err error) error {
	var outErr error
	if errors.As(err, new(*daemon.GoneError)) { // the command itself has come to its end
		err, outErr = nil, err
	}
	outErr = errors.Join(outErr, c.modules.drain(), c.out.close())
	if c.flags.modules.globals && err == nil {
		outErr = errors.Join(outErr, c.modules.show(os.Stderr))
	}
	outErr = errors.Join(outErr, c.modules.close())

	if err != nil {
		return startFailed(c.argv[0], err, c.relay.endedBy())
	}
	status := shellStatus(c.src.Exit())
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
