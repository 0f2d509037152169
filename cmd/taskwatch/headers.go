package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/include"
)

func newModuleHeaders() *cobra.Command {
	return &cobra.Command{
		Use:   "headers DIR",
		Short: "Write the headers for modules in C, for editors",
		Long: `headers writes task_watchers.h and its parts to the directory DIR, for editors
and other tools. 'taskwatch module build' does not need that. It makes DIR
if there is none, and overwrites only older headers. For clangd it writes
compile_flags.txt, unless that exists.`,
		Example: "  taskwatch module headers include",
		Args:    oneFile("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := writeHeaders(args[0]); err != nil {
				return moduleFailed(fmt.Errorf("module headers: %w; name a directory that can be written to", err))
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: compile with -I %[1]s, and --target=bpf or --target=wasm32\n", args[0])
			return err
		},
	}
}

func writeHeaders(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	names, err := fs.Glob(include.Files, "*.h")
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := include.Files.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o666); err != nil {
			return err
		}
	}
	flags, err := os.OpenFile(filepath.Join(dir, "compile_flags.txt"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = flags.WriteString("--target=bpf\n-nostdinc\n-Wall\n-I.\n")
	return errors.Join(err, flags.Close())
}
