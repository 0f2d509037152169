package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/doctor"
)

func newDoctor() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this kernel can deliver, by trying it",
		Long: `doctor tries what taskwatch can do on this machine with its present privileges.
For each source it watches a child process that forks, runs a program, changes
its ids and exits. For a second child, a watcher denies all of that. doctor
denies nothing to other tasks, and leaves nothing behind.

For each event it shows whether it was seen, whether it was denied, whether a
module in the kernel was called (source bpf), the hook, and the fields that are
always missing. Below the table it says why something does not work.

The exit status is:

    0    every event that a source declares was seen
    1    an event that a source declares was not seen, or no source works`,
		Example: `  sudo taskwatch doctor
  taskwatch doctor -f json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			if err := checkProc(); err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			ctx, cancel := untilSignal()
			defer cancel()
			d := doctor.Examine(ctx)
			if ctx.Err() != nil {
				return &exitError{status: exitFailed, err: errors.New("doctor: interrupted")}
			}
			var err error
			if format == formatJSON {
				err = writeJSON(cmd.OutOrStdout(), d)
			} else {
				err = d.Write(cmd.OutOrStdout())
			}
			if err == nil {
				err = d.Err()
			}
			if err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			return nil
		},
	}
	addFormat(cmd, &format)
	return cmd
}

// newDoctorChild is what doctor runs, as a child to watch.
func newDoctorChild() *cobra.Command {
	return &cobra.Command{
		Use:    doctor.ChildCommand + " STAGE",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		Run:    func(_ *cobra.Command, args []string) { doctor.Child(args[0]) },
	}
}
