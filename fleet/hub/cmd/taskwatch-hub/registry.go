package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/taskwatch/taskwatch/fleet/hub/registry"
	"github.com/taskwatch/taskwatch/module/sign"
)

// push puts the file of a module into a registry.
func push(out io.Writer, args []string, r registry.Registry) error {
	if len(args) != 2 {
		return errors.New("give a file and where to put it: taskwatch-hub push FILE REGISTRY/NAME:TAG")
	}
	b, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	signature, err := sign.ReadSignature(args[0])
	if err != nil {
		return fmt.Errorf("%s: its signature: %w", args[0], err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ref, err := r.Push(ctx, args[1], &registry.Module{FileName: filepath.Base(args[0]), File: b, Signature: signature})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, ref)
	return err
}

// pull writes a module of a registry to a file, and its signature beside it.
func pull(out io.Writer, args []string, name string, r registry.Registry) error {
	if len(args) != 1 {
		return errors.New("give one module: taskwatch-hub pull [-o FILE] REGISTRY/NAME:TAG")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	m, err := r.Pull(ctx, args[0])
	if err != nil {
		return err
	}
	if name == "" {
		name = m.FileName
	}
	if err := os.WriteFile(name, m.File, 0o644); err != nil {
		return err
	}
	if m.Signature != nil {
		if err := os.WriteFile(name+".minisig", m.Signature, 0o644); err != nil {
			return err
		}
	} else if err := os.Remove(name + ".minisig"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // that of another module
	}
	_, err = fmt.Fprintln(out, name)
	return err
}
