package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/source/replay"
)

func newDiff() *cobra.Command {
	var format string
	var failOn []string
	var opts report.CompareOptions
	cmd := &cobra.Command{
		Use:   "diff BEFORE AFTER",
		Short: "Compare what two recordings have run",
		Long: `diff compares two recordings, as 'taskwatch run -f json' writes them: which
commands are new or gone, are run more or fewer times, fail, are slower, or use
more CPU time or memory.

Two commands are the same if their arguments are the same, apart from the names
of temporary files and the pids of the process and its ancestors. WALL and CPU
are sums over all runs of a command; "slower" and "hungrier" compare single
runs. MAX RSS is that of the largest run; <5 MiB is a bound, as in a summary,
and is compared like other numbers.

The exit status is:

    0    the recordings were compared
    1    there is a difference that --fail-on names, or a recording cannot be
         read
    2    the command line is wrong`,
		Example: `  taskwatch diff before.jsonl after.jsonl
  taskwatch diff --fail-on new,more,failing before.jsonl after.jsonl
  taskwatch diff -f json before.jsonl after.jsonl`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage(fmt.Errorf("%s given: taskwatch diff BEFORE AFTER", plural(len(args), "file", "files")))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return usage(err)
			}
			for _, name := range failOn {
				if !slices.Contains(changeNames(), name) {
					return usage(fmt.Errorf("--fail-on %q: unknown; choose from %s", name, strings.Join(changeNames(), ", ")))
				}
			}
			if opts.Ratio < 1 {
				return usage(fmt.Errorf("--ratio %v: it is below 1, so equal commands would differ", opts.Ratio))
			}
			return compare(args[0], args[1], format, failOn, opts)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&format, "format", "f", formatText, "`how` to write the differences: text or json")
	flags.StringSliceVar(&failOn, "fail-on", nil, "exit with 1 if there is one of these `changes`, comma-separated:\n"+strings.Join(changeNames(), ", "))
	flags.Float64Var(&opts.Ratio, "ratio", 1.5, "slower and hungrier begin at this `factor`, and at a tenth of a second or 8 MiB")
	complete(cmd, "format", cobra.FixedCompletions([]string{formatText, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "fail-on", cobra.FixedCompletions(changeNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func changeNames() []string {
	var names []string
	for _, c := range report.Changes {
		names = append(names, string(c))
	}
	return names
}

func compare(before, after, format string, failOn []string, opts report.CompareOptions) error {
	var runs [2]*report.Runs
	for i, name := range []string{before, after} {
		var err error
		if runs[i], err = readRuns(name); err != nil {
			return &exitError{status: exitFailed, err: err}
		}
	}
	c := report.Compare(runs[0], runs[1], opts)
	var err error
	if format == formatJSON {
		err = c.WriteJSON(os.Stdout)
	} else {
		err = c.WriteText(os.Stdout, terminalOf(os.Stdout).width)
	}
	if err != nil {
		return &exitError{status: exitFailed, err: fmt.Errorf("the differences cannot be written: %w", cause(err))}
	}
	for _, name := range failOn {
		if c.Has(report.Change(name)) {
			return &exitError{status: exitFailed}
		}
	}
	return nil
}

// readRuns reads what a recording has run.
func readRuns(name string) (*report.Runs, error) {
	in, err := openRecording(name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	progress := showReading(in, true)
	defer progress.end()
	src, err := replay.New(replay.Config{Reader: progress, Name: in.Name()})
	if err != nil {
		return nil, err
	}
	var reg taskwatch.Registry
	runs := report.NewRuns()
	if err := reg.Attach(runs); err != nil {
		return nil, err
	}
	err = src.Run(context.Background(), &reg)
	progress.end()
	sayEarly(in.Name(), src.EarlyEnds())
	if err == nil && src.Empty() {
		err = fmt.Errorf("recording %q: it is empty; %s", name, giveRecording)
	}
	return runs, err
}
