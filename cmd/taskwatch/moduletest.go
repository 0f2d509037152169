package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/kernel/trial"
	"github.com/taskwatch/taskwatch/source/replay"
)

// moduleTestFlags are the flags of module test.
type moduleTestFlags struct {
	expect                  []string
	denied, failed, records uint64
	format                  string
}

func newModuleTest() *cobra.Command {
	var f moduleTestFlags
	cmd := &cobra.Command{
		Use:               "test FILE[,key=value...] [flags] < RECORDING",
		Short:             "Call the watchers of a kernel module for a recording, and compare what they did",
		ValidArgsFunction: completeModuleFile,
		Long: `test interprets a module for the kernel: it calls the watchers of FILE for the
events of a recording, which is standard input, and shows the variables of the
module, its errors, and what it has sent. It needs no privileges and no kernel,
and denies nothing: what the module would have denied is counted.

Watchers are called as on a kernel that lets nothing be denied. The tasks that
they see have what the events say. A watcher that reads something else, or calls
a function of the kernel that a recording cannot answer, ends the test with an
error. docs/modules.md says what there is. The verifier is not asked: 'taskwatch
module check' does that.

--expect says what a variable has to be at the end: NAME=VALUE; for lists,
NAME[INDEX]=VALUE; for maps and structs, NAME[KEY].MEMBER=VALUE. Keys and values
are JSON, or words.

The exit status is 1 if an expectation is not met, or the module cannot be
called for this recording.`,
		Example: `  taskwatch module test count.o --expect execs=6 < events.jsonl
  taskwatch module test rule.o,program=/bin/sh --expect-denied 2 < events.jsonl`,
		Args: oneFile("FILE[,key=value...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(f.format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			return f.run(cmd, args[0])
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringArrayVar(&f.expect, "expect", nil, "`NAME=VALUE` that has to be true at the end; may be given several\ntimes")
	cmd.Flags().Uint64Var(&f.denied, "expect-denied", 0, "how many operations (`N`) the module has to deny")
	cmd.Flags().Uint64Var(&f.failed, "expect-errors", 0, "how many calls (`N`) have to return an error")
	cmd.Flags().Uint64Var(&f.records, "expect-records", 0, "how many records (`N`) the module has to send")
	addFormat(cmd, &f.format)
	return cmd
}

// moduleTested is what module test shows.
type moduleTested struct {
	Name    string           `json:"name"`
	Events  uint64           `json:"events"`
	Calls   uint64           `json:"calls"`
	Errors  uint64           `json:"errors"`
	Denied  uint64           `json:"denied"`
	Records uint64           `json:"records"`
	Failed  []string         `json:"failed"` // the first errors, in words
	Globals []testedVariable `json:"globals"`
}

type testedVariable struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

const maxShownFailures = 10

func (r *moduleTested) write(w io.Writer) error {
	var b strings.Builder
	line := factLines(&b)
	line("events", "%d", r.Events)
	line("calls", "%d", r.Calls)
	line("errors", "%d", r.Errors)
	line("denied", "%d", r.Denied)
	line("records", "%d", r.Records)
	for _, f := range r.Failed {
		line("error", "%s", f)
	}
	if more := r.Errors - uint64(len(r.Failed)); more > 0 {
		line("error", "... and %d more", more)
	}
	for _, g := range r.Globals {
		line("variable", "%s = %s", g.Name, value(g.Value))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f *moduleTestFlags) run(cmd *cobra.Command, spec string) (err error) {
	var expected []module.Expectation
	for _, text := range f.expect {
		e, err := module.ParseExpectation(text)
		if err != nil {
			return usage(fmt.Errorf("--expect %w", err))
		}
		expected = append(expected, e)
	}
	modules := moduleFlags{specs: []string{spec}}
	files, err := modules.parse()
	if err != nil {
		return moduleFailed(err)
	}
	defer func() { err = errors.Join(err, files.close()) }()
	file := files[0]
	object := host.KernelObject(file.File)
	if object == nil {
		return moduleFailed(fmt.Errorf("module test %s: it is for the sandbox; 'taskwatch replay -m %s --globals RECORDING' calls it for a recording", spec, spec))
	}
	result := &moduleTested{Name: file.Name(), Failed: []string{}, Globals: []testedVariable{}}
	tried, err := trial.New(object, trial.Options{Params: file.params, Contents: file.contents,
		Log: func(level slog.Level, text string) {
			if level >= slog.LevelInfo {
				say("module %s: %s", file.Name(), text)
			}
		},
		Failed: func(failed trial.Failure) {
			if len(result.Failed) < maxShownFailures {
				result.Failed = append(result.Failed, failureInWords(&failed))
			}
		},
	})
	if err != nil {
		return moduleFailed(err)
	}
	if err := runTrial(cmd.Context(), tried, cmd.InOrStdin()); err != nil {
		return moduleFailed(err)
	}
	counts := tried.Counts()
	result.Events, result.Calls, result.Errors, result.Denied, result.Records = counts.Events, counts.Calls, counts.Errors, counts.Denied, counts.Records
	globals, err := tried.Globals()
	if err != nil && !errors.Is(err, module.ErrTooLarge) {
		return moduleFailed(err)
	}
	for _, g := range globals {
		if !g.Param {
			result.Globals = append(result.Globals, testedVariable{g.Name, g.Value})
		}
	}
	if err := show(cmd, f.format, result); err != nil {
		return err
	}
	if counts.Lost > 0 {
		say("the recording lacks events: %d or more were lost", counts.Lost)
	}
	return f.compare(cmd, tried, expected)
}

// failureInWords says what an error of a watcher was.
func failureInWords(f *trial.Failure) string {
	name := unix.ErrnoName(f.Errno)
	if name == "" {
		name = fmt.Sprintf("errno %d", f.Errno)
	}
	text := fmt.Sprintf("%s on %s: %s", f.Watcher, f.List, name)
	if f.Event != nil {
		text += fmt.Sprintf(" at event %d", f.Event.Seq)
		if task := f.Event.Task; task.Exe != "" && f.Event.Missing&taskwatch.FieldExe == 0 {
			text += ", " + task.Exe
		}
	}
	if f.Denies {
		text += " (denied)"
	}
	return text
}

// compare says which expectations are not met.
func (f *moduleTestFlags) compare(cmd *cobra.Command, tried *trial.Trial, expected []module.Expectation) error {
	var errs []error
	c := tried.Counts()
	for _, n := range []struct {
		flag, what string
		want, have uint64
	}{
		{"expect-denied", "operations are denied", f.denied, c.Denied},
		{"expect-errors", "calls return an error", f.failed, c.Errors},
		{"expect-records", "records are sent", f.records, c.Records},
	} {
		if cmd.Flags().Changed(n.flag) && n.want != n.have {
			errs = append(errs, fmt.Errorf("--%s %d: %d %s", n.flag, n.want, n.have, n.what))
		}
	}
	for _, e := range expected {
		have, err := trialValue(tried, &e)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("--expect %s: %w", e.Text, err))
		case !e.Met(have):
			errs = append(errs, fmt.Errorf("--expect %s: it is %s", e.Text, module.Compact(have)))
		}
	}
	if errs != nil {
		return moduleFailed(errors.Join(errs...))
	}
	return nil
}

// trialValue finds the value that an expectation is about: of a variable, or of a map.
func trialValue(tried *trial.Trial, e *module.Expectation) (any, error) {
	globals, err := tried.Globals()
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(globals, func(g module.Global) bool { return g.Name == e.Name }); i >= 0 {
		return module.Find(globals[i].Value, e.Path)
	}
	if len(e.Path) == 0 {
		if _, err := tried.LookupMap(e.Name, ""); !errors.Is(err, module.ErrNoMap) {
			return nil, fmt.Errorf("that is a map: expect something of an entry, as in %s[KEY]=VALUE", e.Name)
		}
		var names []string
		for _, g := range globals {
			names = append(names, g.Name)
		}
		return nil, fmt.Errorf("the module has no variable %q; it has %s", e.Name, clean.Text(cmp.Or(strings.Join(names, ", "), "none")))
	}
	entry, err := tried.LookupMap(e.Name, e.Path[0])
	if err != nil {
		return nil, err
	}
	return module.Find(entry.Value, e.Path[1:])
}

// runTrial calls a module for a recording.
func runTrial(ctx context.Context, tried *trial.Trial, r io.Reader) error {
	const name = "standard input"
	src, err := replay.New(replay.Config{Reader: r, Name: name})
	if err != nil {
		return err
	}
	var reg taskwatch.Registry
	if err := reg.Attach(tried); err != nil {
		return err
	}
	err = errors.Join(src.Run(ctx, &reg), reg.Detach(context.Background(), tried))
	sayEarly(name, src.EarlyEnds())
	if err == nil && src.Empty() { // it would meet nearly every expectation
		err = errors.New("the recording in standard input is empty; " + giveRecording)
	}
	return err
}
