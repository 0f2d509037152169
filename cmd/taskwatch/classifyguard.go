package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/classify"
	"github.com/taskwatch/taskwatch/module/kernel"
)

const classifyGuardName = "classify-guard"

// The files that the guard inherits.
const (
	guardPipe = 3 + iota
	guardMap
)

// newClassifyGuard is what continues stopped processes when classify has ended.
func newClassifyGuard() *cobra.Command {
	return &cobra.Command{
		Use:    classifyGuardName,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT) // meant for classify, which ends then
			stopped, err := classify.OpenStopped(os.NewFile(guardMap, classify.StoppedMap))
			if err == nil {
				err = stopped.Guard(os.NewFile(guardPipe, "pipe"))
			}
			if err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			return nil
		},
	}
}

// classifyGuard continues what the module has stopped. A nil one does nothing.
type classifyGuard struct {
	stopped *classify.Stopped
	cmd     *exec.Cmd
	pipe    *os.File // its end has the guard continue what is left
}

// startClassifyGuard starts the guard of a module that is loaded and decides
// nothing yet.
func startClassifyGuard(m *kernel.Module) (*classifyGuard, error) {
	file, err := m.MapFile(classify.StoppedMap)
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	g := &classifyGuard{pipe: write, cmd: exec.Command("/proc/self/exe", classifyGuardName)}
	g.cmd.Stderr = os.Stderr
	g.cmd.ExtraFiles = []*os.File{read, file}
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = errors.Join(g.cmd.Start(), read.Close())
	if err != nil {
		return nil, fmt.Errorf("the guard of stopped processes: %w", errors.Join(err, write.Close(), file.Close()))
	}
	if g.stopped, err = classify.OpenStopped(file); err != nil {
		return nil, errors.Join(err, g.end())
	}
	return g, nil
}

func (g *classifyGuard) resume(pid int) {
	if g == nil {
		return
	}
	if err := g.stopped.Continue(pid); err != nil {
		say("%v", err)
	}
}

func (g *classifyGuard) resumeAll() {
	if g == nil {
		return
	}
	if err := g.stopped.ContinueAll(); err != nil {
		say("%v", err)
	}
}

// end has the guard continue what is left, once the module decides nothing any
// more.
func (g *classifyGuard) end() error {
	if g == nil {
		return nil
	}
	errs := []error{g.pipe.Close(), g.cmd.Wait()}
	if g.stopped != nil {
		errs = append(errs, g.stopped.Close())
	}
	return errors.Join(errs...)
}
