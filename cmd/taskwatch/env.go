package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

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

	secret *regexp.Regexp // set by check; nil where nothing is
}

const (
	envAll   = "all"
	envNames = "names"
)

func (f *envFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.what, "env", envAll, "`what` the field env has: all, or names, which leaves the values out")
	flags.StringVar(&f.redact, "env-redact", "", "leave out the value of variables whose NAME=VALUE matches this `regexp`")
	flags.BoolVar(&f.diff, "env-diff", false, "below each exec in text, show what its environment has other than its parent's:\n+ added, - removed, ~ changed; in lines for a shell, write only that")
	complete(cmd, "env", cobra.FixedCompletions([]string{envAll, envNames}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "env-redact", cobra.NoFileCompletions)
}

func (f *envFlags) check(cmd *cobra.Command) error {
	if f.what != envAll && f.what != envNames {
		return fmt.Errorf("--env %q: unknown; choose all or names", f.what)
	}
	if f.redact == "" {
		if cmd.Flags().Changed("env-redact") {
			return errors.New("--env-redact: the expression is empty and would match everything; use --env names")
		}
		return nil
	}
	var err error
	if f.secret, err = regexp.Compile(f.redact); err != nil {
		return fmt.Errorf("--env-redact %q: %s", f.redact, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return nil
}

// environ returns the environment of a process of this machine, or nil.
func environ(pid int) []string {
	var r procfs.Reader
	return r.Extra(pid, 0, taskwatch.FieldEnv).Env
}

// before puts what leaves values out before a sink, where there is anything to
// be left out.
func (f *envFlags) before(s taskwatch.Sink) taskwatch.Sink {
	if f.what == envAll && f.secret == nil {
		return s
	}
	return &envRedactor{Sink: s, flags: f}
}

// envRedactor is a sink that hands on events with less of their environment.
type envRedactor struct {
	taskwatch.Sink
	flags *envFlags
}

// WantsFailedExecs returns whether the sink behind wants them.
func (r *envRedactor) WantsFailedExecs() bool { return taskwatch.WantsFailedExecs(r.Sink) }

func (r *envRedactor) Take(it taskwatch.Item) {
	switch {
	case it.Event != nil && it.Event.Extra != nil:
		it.Event = r.event(it.Event)
	case it.Failure != nil && it.Failure.Event != nil && it.Failure.Event.Extra != nil:
		f := *it.Failure
		f.Event = r.event(f.Event)
		it.Failure = &f
	}
	r.Sink.Take(it)
}

// event returns a copy: the event is borrowed, and others see it as it is.
func (r *envRedactor) event(ev *taskwatch.Event) *taskwatch.Event {
	if len(ev.Extra.Env) == 0 {
		return ev
	}
	e, x := *ev, *ev.Extra
	x.Env = make([]string, len(ev.Extra.Env))
	for i, v := range ev.Extra.Env {
		name, _, valued := strings.Cut(v, "=")
		switch {
		case !valued, r.flags.what == envNames:
			v = name
		case r.flags.secret.MatchString(v):
			v = name + "=" + report.Redacted
		}
		x.Env[i] = v
	}
	e.Extra = &x
	return &e
}
