package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/report"
)

// envFlags say what is shown of the environment of programs.
type envFlags struct {
	what   string
	redact string
	diff   bool

	cut report.EnvCut // set by check
}

func (f *envFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.what, "env", report.EnvAll, "`what` the field env has: all, or names, which leaves the values out")
	flags.StringVar(&f.redact, "env-redact", "", "leave out the value of variables whose NAME=VALUE matches this `regexp`")
	flags.BoolVar(&f.diff, "env-diff", false, "below each exec in text, show what its environment has other than its parent's:\n+ added, - removed, ~ changed; in lines for a shell, write only that")
	complete(cmd, "env", cobra.FixedCompletions([]string{report.EnvAll, report.EnvNames}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "env-redact", cobra.NoFileCompletions)
}

func (f *envFlags) check(cmd *cobra.Command) (err error) {
	if f.what != report.EnvAll && f.what != report.EnvNames {
		return fmt.Errorf("--env %q: unknown; choose all or names", f.what)
	}
	f.cut.Names = f.what == report.EnvNames
	if !cmd.Flags().Changed("env-redact") {
		return nil
	}
	if f.cut.Secret, err = report.ParseSecret(f.redact); err != nil {
		return fmt.Errorf("--env-redact %q: %w", f.redact, err)
	}
	return nil
}

// environ returns the environment of a process of this machine, or nil, with the
// same values left out as those of events: otherwise all would differ.
func (f *envFlags) environ(pid int) (env []string, cut bool) {
	var r procfs.Reader
	x := r.Extra(pid, 0, taskwatch.FieldEnv)
	if !x.Given.Has(taskwatch.FieldEnv) {
		return nil, false
	}
	return f.cut.List(x.Env), x.EnvCut
}

// before puts what leaves values out before a sink, where there is anything to
// be left out.
func (f *envFlags) before(s taskwatch.Sink) taskwatch.Sink {
	if f.cut.Nothing() {
		return s
	}
	return &envRedactor{Sink: s, cut: f.cut}
}

// envRedactor is a sink that hands on events with less of their environment.
type envRedactor struct {
	taskwatch.Sink
	cut report.EnvCut
}

// WantsFailedExecs returns whether the sink behind wants them.
func (r *envRedactor) WantsFailedExecs() bool { return taskwatch.WantsFailedExecs(r.Sink) }

// Only returns which tasks the sink behind wants.
func (r *envRedactor) Only() taskwatch.Only { return taskwatch.OnlyOf(r.Sink) }

func (r *envRedactor) Take(it taskwatch.Item) { r.Sink.Take(r.cut.Item(it)) }
