package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newHelp returns the command that shows the help of another. Cobra's own
// succeeds where there is no such command.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND|TOPIC]",
		Short: "Show the help of a command or a topic",
		Long:  "help shows the help of a command, like its flag --help, or a topic.",
		Example: `  taskwatch help run
  taskwatch help filter`,
		ValidArgsFunction: completeCommands,
		RunE: func(cmd *cobra.Command, args []string) error {
			named, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage(fmt.Errorf("no help on %q: there is no such command or topic", strings.Join(args, " ")))
			}
			named.InitDefaultHelpFlag() // so that the help shows it
			return named.Help()
		},
	}
}

// completeCommands completes the name of a command or of a topic.
func completeCommands(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	var names []string
	named, rest, err := cmd.Root().Find(args)
	if err == nil && len(rest) == 0 {
		for _, c := range named.Commands() {
			if !c.Hidden && strings.HasPrefix(c.Name(), typed) {
				names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
