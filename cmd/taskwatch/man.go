package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
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
			if err := writeManPages(cmd.Root(), args[0]); err != nil {
				return &exitError{status: exitFailed, err: fmt.Errorf("man pages: %w: give a directory that exists and can be written", err)}
			}
			return nil
		},
	}
}

// writeManPages writes the page of a command, and those of the commands below it.
func writeManPages(c *cobra.Command, dir string) error {
	c.InitDefaultHelpCmd()
	c.InitDefaultHelpFlag()
	for _, sub := range documented(c) {
		if err := writeManPages(sub, dir); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, pageName(c)+".1"), manPage(c), 0o666)
}

// documented returns the commands below c that have a page.
func documented(c *cobra.Command) (list []*cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && !sub.IsAdditionalHelpTopicCommand() {
			list = append(list, sub)
		}
	}
	return list
}
