package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// bpfCommand runs a command under the source bpf, which watches it and has no
// hold on it.
type bpfCommand struct {
	*bpf.Source
	ctx    context.Context
	cancel context.CancelFunc
}

func openBPFCommand(c *command) (supervisor, error) {
	if err := auto.NeedBPF(); err != nil {
		return nil, err
	}
	src, err := bpf.New(bpf.Config{
		Command: &bpf.Command{Path: c.argv[0], Argv: c.argv},
		Latency: bpf.DefaultLatency,
		DryRun:  c.dryRun, OnReport: c.news.report, OnEmit: c.news.emitted,
	})
	if err != nil {
		return nil, err
	}
	b := &bpfCommand{Source: src}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

// Run ends early when Kill was called.
func (b *bpfCommand) Run(ctx context.Context, reg *taskwatch.Registry) error {
	defer b.cancel()
	defer context.AfterFunc(ctx, b.cancel)()
	err := b.Source.Run(b.ctx, reg)
	var start *bpf.StartError
	var lookup *exec.Error
	if !errors.As(err, &start) || !errors.As(start.Err, &lookup) {
		return err
	}
	why := lookup.Err
	if errors.Is(why, exec.ErrNotFound) {
		why = fs.ErrNotExist // as other sources have it
	}
	return &bpf.StartError{Path: start.Path, Err: why}
}

// Signal sends a signal to the command.
func (b *bpfCommand) Signal(sig syscall.Signal) error {
	err := b.Source.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return unix.ESRCH
	}
	return err
}

// Kill stops watching what the command has left behind, and kills none of it.
func (b *bpfCommand) Kill() int {
	b.cancel()
	return 0
}
