package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// hubProgram is the program of the hub: its server is not in this one.
const hubProgram = "taskwatch-hub"

// newHub is for people who look for the hub here.
func newHub() *cobra.Command {
	return &cobra.Command{
		Use:                "hub",
		Short:              "Run " + hubProgram + ", the hub of a fleet, which is a program of its own",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := exec.LookPath(hubProgram)
			if errors.Is(err, exec.ErrNotFound) {
				return serveFailed(fmt.Errorf("the hub of a fleet is a program of its own, %s, and is not in $PATH: install the package of that name; see docs/fleet.md", hubProgram))
			}
			if err == nil {
				err = unix.Exec(path, append([]string{hubProgram}, args...), os.Environ())
			}
			return serveFailed(fmt.Errorf("%s: %w", hubProgram, err))
		},
	}
}
