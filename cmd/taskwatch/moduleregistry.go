package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/fleet/registry"
	"github.com/taskwatch/taskwatch/module/sign"
)

// addPlainHTTP adds the flag for registries without TLS.
func addPlainHTTP(cmd *cobra.Command, r *registry.Registry) {
	cmd.Flags().BoolVar(&r.PlainHTTP, "plain-http", false, "the registry has no TLS")
}

func newModulePush() *cobra.Command {
	var r registry.Registry
	cmd := &cobra.Command{
		Use:   "push FILE REGISTRY/NAME:TAG",
		Short: "Put a module into a registry of containers",
		Long: `push puts a module and its signature, FILE.minisig if it is there, into a
registry of containers (OCI), and prints its reference by digest. 'taskwatch
module pull' gets both from there, and 'taskwatch fleet insmod
oci://REGISTRY/NAME:TAG' has the nodes of a fleet do so. The credentials are
those of 'docker login'.`,
		Example: "  taskwatch module push count.o registry.example/team/count:1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(errors.New("give a file and where to put it: taskwatch module push FILE REGISTRY/NAME:TAG"))
			}
			return nil
		},
		ValidArgsFunction: completeModuleFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := signedModule(args[0])
			if err != nil {
				return moduleFailed(err)
			}
			ctx, cancel := untilSignal()
			defer cancel()
			ref, err := r.Push(ctx, args[1], m)
			if err != nil {
				return moduleFailed(err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), ref)
			return err
		},
	}
	addPlainHTTP(cmd, &r)
	return cmd
}

func newModulePull() *cobra.Command {
	var r registry.Registry
	var name string
	cmd := &cobra.Command{
		Use:   "pull REGISTRY/NAME:TAG|REGISTRY/NAME@DIGEST",
		Short: "Get a module from a registry of containers",
		Long: `pull gets a module and its signature from a registry of containers (OCI), where
'taskwatch module push' has put them, and writes them to files of their names.
It accepts nothing else than what has the digest of the reference, if that has
one. The credentials are those of 'docker login'.`,
		Example: "  taskwatch module pull registry.example/team/count:1\n  taskwatch module pull -o /tmp/count.o registry.example/team/count:1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(errors.New("give one module: taskwatch module pull REGISTRY/NAME:TAG"))
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := untilSignal()
			defer cancel()
			m, err := r.Pull(ctx, args[0])
			if err != nil {
				return moduleFailed(err)
			}
			if name == "" {
				name = m.FileName
			}
			if err := writeModule(name, m); err != nil {
				return moduleFailed(err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), name)
			return err
		},
	}
	cmd.Flags().StringVarP(&name, "output", "o", "", "the `file` to write (default the name that it was pushed with)")
	addPlainHTTP(cmd, &r)
	return cmd
}

// writeModule writes a module to a file, and its signature beside it. A signature
// that is there and is that of another file goes.
func writeModule(name string, m *registry.Module) error {
	if err := os.WriteFile(name, m.File, 0o644); err != nil {
		return err
	}
	if m.Signature != nil {
		return os.WriteFile(name+sign.Suffix, m.Signature, 0o644)
	}
	if err := os.Remove(name + sign.Suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
