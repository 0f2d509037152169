package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
)

// complete sets what a shell offers for a flag.
func complete(cmd *cobra.Command, flag string, fn cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err) // no such flag
	}
}

// completeEvents completes the last name of a list.
func completeEvents(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndex(typed, ",")+1]
	var list []string
	for _, k := range taskwatch.AllKinds.List() {
		list = append(list, before+k.String())
	}
	list = append(list, before+taskwatch.FailedExecName)
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
