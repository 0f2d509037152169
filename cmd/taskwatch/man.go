package main

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func newMan() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the man pages",
		Long:    "man writes the man pages of all commands into the directory DIR, from the same\ntexts as their help.",
		Example: "  taskwatch man .",
		Hidden:  true,
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

// built returns the time of the source, so that the pages do not depend on
// when they were made, or nil if the build did not record it. The variable
// SOURCE_DATE_EPOCH stands in for it then.
func built() *time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, s := range info.Settings {
		if t, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
			return &t
		}
	}
	return nil
}
