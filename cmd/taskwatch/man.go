package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the man pages",
		Long: `man writes the man pages of all commands into the directory DIR, from the same
texts as their help. The packages install them; with another install, write them
to a directory man1 below one in MANPATH.`,
		Example: "  taskwatch man .",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := doc.GenManTree(cmd.Root(), &doc.GenManHeader{
				Section: "1",
				Source:  "taskwatch",
				Manual:  "taskwatch",
				Date:    built(),
			}, args[0])
			if err != nil {
				return &exitError{status: exitFailed, err: fmt.Errorf("man pages: %w: give a directory that exists and can be written", err)}
			}
			return nil
		},
	}
}
