package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/internal/bench"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	format  string
	pairs   int
	run     time.Duration
	with    []string
	shared  bool
	against string
}

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [flags]",
		Short: "Measure what watching costs on this machine",
		Long: `bench runs loads that fork, run programs and start threads as fast as they can,
in turns alone and watched. It shows how fast they are while they are watched:
1.00 is as fast as alone. Each figure is the median of several pairs of runs,
with the quartiles. The CPU time is what the watcher uses per event, for each
load. Events lost are those that the loads caused and the watcher did not get.

The load has one processor and the watcher another, unless --shared is given.
Other work on the machine makes the figures vary. The first line is a control
that watches nothing: its figures should be 1. If they are not, or if the
machine was busy before, a warning follows the table.

With --against, bench compares this taskwatch with another one, such as that of
before a change, and measures the two in turns. A rate below 1, or a CPU time
above 1, means that this one is worse; the other's figures stand behind a slash.
Behind the median stands the interval that has the true one with a probability
of 99 %, and below the table what is worse by more than the noise. There are 12
pairs of runs, unless --pairs is given; fewer than 8 are too few to tell.

It needs root. With --with, bench measures other tools too, and names those that
are not installed.`,
		Example: `  sudo taskwatch bench
  sudo taskwatch bench --pairs 12 --with forkstat,bpftrace,strace
  sudo taskwatch bench --against ./taskwatch.old`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.bench(cmd) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	addFormat(cmd, &f.format)
	flags.IntVar(&f.pairs, "pairs", 4, "how many `times` each watcher is measured")
	flags.DurationVar(&f.run, "run", 200*time.Millisecond, "how `long` one run of a load takes, about")
	flags.StringSliceVar(&f.with, "with", nil, "measure these `tools`, too: "+strings.Join(bench.Tools(), ", "))
	flags.StringVar(&f.against, "against", "", "compare with the taskwatch in this `file`")
	flags.BoolVar(&f.shared, "shared", false, "let the kernel choose where load and watcher run")
	complete(cmd, "with", cobra.FixedCompletions(bench.Tools(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

const benchChild = "bench-child"

// newBenchChild is a watcher that bench measures.
func newBenchChild() *cobra.Command {
	return &cobra.Command{
		Use:    benchChild + " MODE TAG",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := bench.Child(args, os.Stdin, os.Stdout); err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			return nil
		},
	}
}

// watchers returns what is to be measured.
func (f *benchFlags) watchers() ([]*bench.Watcher, error) {
	var list []*bench.Watcher
	for _, name := range append([]string{bench.Control, bench.InKernel, bench.ToGo, bench.ToJSON, bench.ToSandbox}, f.with...) {
		w := bench.ByName(name)
		if w == nil {
			return nil, fmt.Errorf("--with %s: bench does not know that tool; it knows %s", name, strings.Join(bench.Tools(), ", "))
		}
		if !slices.Contains(list, w) {
			list = append(list, w)
		}
	}
	return list, nil
}

func (f *benchFlags) bench(cmd *cobra.Command) error {
	list, err := f.watchers()
	compares := cmd.Flags().Changed("against")
	if compares && !cmd.Flags().Changed("pairs") {
		f.pairs = bench.AgainstPairs
	}
	switch {
	case err == nil && f.pairs < 1:
		err = fmt.Errorf("--pairs %d: give at least 1", f.pairs)
	case err == nil && f.run <= 0:
		err = fmt.Errorf("--run %v: give a time above 0", f.run)
	case err == nil && compares && len(f.with) > 0:
		err = errors.New("--with and --against exclude each other: other tools are the same with both programs")
	case err == nil:
		err = checkFormat(f.format)
	}
	if err != nil {
		return &exitError{status: exitUsage, err: err}
	}
	other := ""
	if compares {
		if other, err = exec.LookPath(f.against); err != nil {
			return &exitError{status: exitUsage, err: fmt.Errorf("--against: %w; give the path of a taskwatch", err)}
		}
	}
	ctx, cancel := untilSignal()
	defer cancel()
	if err := f.measure(ctx, cmd.OutOrStdout(), list, other); err != nil {
		if ctx.Err() != nil {
			err = errors.New("bench: interrupted")
		}
		return &exitError{status: exitFailed, err: err}
	}
	return nil
}

// measure measures the watchers, or compares them with those of the program other
// if that is not "".
func (f *benchFlags) measure(ctx context.Context, out io.Writer, list []*bench.Watcher, other string) error {
	progress := func(string) {}
	if isTerminal(os.Stderr) {
		progress = func(text string) { fmt.Fprintf(os.Stderr, "\r\x1b[K%s", text) }
	}
	load := bench.LoadAverage()
	cfg := bench.Config{
		Self:  []string{procfs.Self, benchChild},
		Loads: []bench.Load{bench.Fork, bench.Exec, bench.Run, bench.Thread},
		Pairs: f.pairs, Run: f.run, Shared: f.shared, Progress: progress,
	}
	var (
		results any
		write   func() error
		doubts  []string
	)
	if other == "" {
		measured, err := bench.Measure(ctx, cfg, list)
		progress("")
		if err != nil {
			return err
		}
		results, doubts = measured, bench.Doubts(measured, load, runtime.NumCPU())
		write = func() error { return bench.WriteText(out, measured) }
	} else {
		compared, err := bench.Compare(ctx, cfg, []string{other, benchChild}, list)
		progress("")
		if err != nil {
			return err
		}
		results, doubts = compared, bench.DoubtsOf(compared, load, runtime.NumCPU())
		write = func() error { return bench.WriteComparisons(out, compared, f.pairs) }
	}
	if f.format == formatJSON {
		return writeJSON(out, results)
	}
	if _, err := fmt.Fprintf(out, "%s\n\n", bench.Machine()); err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	for _, doubt := range doubts {
		if _, err := fmt.Fprintf(out, "\nwarning: do not trust these figures: %s", doubt); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}
