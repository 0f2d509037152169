package main

import (
	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/classify"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/module/kernel"
)

const classifyGuardName = "classify-guard"

// classifyGuardCommand is the command line of the guard.
var classifyGuardCommand = []string{procfs.Self, classifyGuardName}

// newClassifyGuard is what continues stopped processes when classify, or the daemon,
// has ended.
func newClassifyGuard() *cobra.Command {
	return &cobra.Command{
		Use:    classifyGuardName,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := daemon.RunClassifyGuard(); err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			return nil
		},
	}
}

// startClassifyGuard starts the guard of a module that is loaded and decides nothing
// yet.
func startClassifyGuard(m *kernel.Module) (*classify.Guard, error) {
	file, err := m.MapFile(classify.StoppedMap)
	if err != nil {
		return nil, err
	}
	return classify.StartGuard(file, classifyGuardCommand...)
}
