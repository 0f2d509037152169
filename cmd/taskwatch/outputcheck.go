package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/sink/compiledb"
	"github.com/taskwatch/taskwatch/sink/otlp"
)

// checkSummary reports what is wrong with the flags of the summary.
func (f *outputFlags) checkSummary(cmd *cobra.Command) error {
	for _, name := range []string{"top", "sort"} {
		if cmd.Flags().Changed(name) && !f.summary {
			return fmt.Errorf("--%s: it works only with --summary; give that as well", name)
		}
	}
	if cmd.Flags().Changed("top") && f.top < 1 {
		return fmt.Errorf("--top %d: a list needs at least one line", f.top)
	}
	if cmd.Flags().Changed("sort") && !slices.Contains(report.Sorts, report.SortBy(f.sort)) {
		return fmt.Errorf("--sort %q: unknown; choose one of %s", f.sort, sortNames())
	}
	return nil
}

// check reports what is wrong with the flags.
func (f *outputFlags) check(cmd *cobra.Command) error {
	if slices.Contains(f.events, "") {
		return fmt.Errorf("--event: no event given: events are %s", taskwatch.AllKinds)
	}
	if _, err := f.kinds(); err != nil {
		return err
	}
	if _, err := f.optional(); err != nil {
		return err
	}
	if f.fields == "" && cmd.Flags().Changed("fields") {
		return errors.New("--fields: no field given")
	}
	if f.shell {
		if cmd.Flags().Changed("format") && f.format != formatShell {
			return fmt.Errorf("--shell: --format %s asks for another format; leave one of the two out", f.format)
		}
		f.format = formatShell
	}
	named, err := formatNamed(f.format)
	if err != nil {
		return err
	}
	if err := f.checkOTLP(cmd); err != nil {
		return err
	}
	if f.folded != foldedCPU && f.folded != foldedWall {
		return fmt.Errorf("--folded %q: unknown; choose %s or %s", f.folded, foldedCPU, foldedWall)
	}
	if cmd.Flags().Changed("compilers") {
		text, err := os.ReadFile(f.compilersFile)
		if err != nil {
			return fmt.Errorf("--compilers %q: %w", f.compilersFile, cause(err))
		}
		if f.compilers, err = compiledb.ReadOptions(text); err != nil {
			return fmt.Errorf("--compilers %q: %s", f.compilersFile, strings.TrimPrefix(err.Error(), "compiledb: "))
		}
	}
	if f.keep && (len(f.files) == 0 || slices.Contains(f.files, "-")) {
		return errors.New("--append: there is no file to append to; name one with --output")
	}
	used := len(f.files) == 0 && !f.screen || f.summary
	for i, name := range f.files {
		if name == "" {
			return errors.New("--output: the name of the file is empty")
		}
		if slices.Contains(f.files[:i], name) {
			return fmt.Errorf("--output %q: given twice; each file gets the events once", name)
		}
		if meant := meantEnding(name); meant != "" && !cmd.Flags().Changed("format") && !f.shell {
			return fmt.Errorf("--output %q: no format has this ending; end the name in %s, or choose one with --format", name, meant)
		}
		if ext := filepath.Ext(name); slices.Contains(compressed, ext) && !cmd.Flags().Changed("format") && !f.shell {
			return fmt.Errorf("--output %q: outputs are not compressed; leave %s out, and compress the file afterwards", name, ext)
		}
		used = used || f.formatOf(name) == named
		if f.keep && f.formatOf(name).single {
			return fmt.Errorf("--append: %q is a whole document, which cannot be appended to; leave --append out", name)
		}
	}
	if f.screen && len(f.files) == 0 {
		for _, name := range []string{"event", "threads", "columns", "fields"} {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s: with --tui, events are written to files only; name one with --output", name)
			}
		}
		if cmd.Flags().Changed("format") && !used {
			return errors.New("--format: with --tui, events are written to files only; name one with --output")
		}
	}
	if f.shell && !used {
		return fmt.Errorf("--shell: the ending of %q chooses another format; leave --shell out, or end the name in .sh", f.files[0])
	}
	if cmd.Flags().Changed("format") && !used {
		return fmt.Errorf("--format %s: the ending of %q chooses another format; leave --format out, or change the ending", f.format, f.files[0])
	}
	return cmp.Or(errors.Join(f.checkSummary(cmd), f.where.check(cmd), f.table.check(cmd), f.env.check(cmd)), f.checkFailed(), f.checkEnvDiff(), f.checkUsed())
}

// checkUsed reports that events or columns are chosen and that no output heeds it.
func (f *outputFlags) checkUsed() error {
	if f.screen && len(f.files) == 0 {
		return nil // checked before
	}
	if f.table.list != "" && !f.anyOutput(func(format *fileFormat) bool {
		return format.name == formatText || format.name == formatJSON || format.name == formatCSV
	}) {
		return errors.New("--columns: only text, csv and json have columns; choose one of these, or leave it out")
	}
	if f.where.filter != nil && !f.screen && !f.anyOutput(func(format *fileFormat) bool { return format.usual != 0 || format.chosen }) {
		return fmt.Errorf("--where: %q needs the events of all processes; leave it out, or write text, json, csv, sql, sh or html", f.files[0])
	}
	return nil
}

// checkFailed reports that execs that failed are asked for and nothing shows
// them.
func (f *outputFlags) checkFailed() error {
	outputs := f.files
	if len(outputs) == 0 {
		outputs = []string{"-"}
	}
	rows := func(name string) bool {
		format := f.formatOf(name).name
		return format == formatCSV || format == formatJSON && f.table.list != ""
	}
	if !f.failed() || slices.ContainsFunc(outputs, func(name string) bool { return !rows(name) }) {
		return nil
	}
	return errors.New("tables of csv or json have no rows for execs that failed; leave them out of --event and --where, or write text or a recording")
}

// checkEnvDiff reports that differences of environments are asked for and nothing
// shows them.
func (f *outputFlags) checkEnvDiff() error {
	if !f.env.diff || f.anyOutput(func(format *fileFormat) bool {
		return format.name == formatShell || format.name == formatText && f.table.list == ""
	}) {
		return nil
	}
	return errors.New("--env-diff: only text without --columns, and lines for a shell, show it; choose one of these")
}

// anyOutput reports whether a function is true of the format of any output.
func (f *outputFlags) anyOutput(is func(*fileFormat) bool) bool {
	outputs := f.files
	if len(outputs) == 0 {
		outputs = []string{"-"}
	}
	return slices.ContainsFunc(outputs, func(name string) bool { return is(f.formatOf(name)) })
}

// checkOTLP makes the exporter of spans, if there is to be one.
func (f *outputFlags) checkOTLP(cmd *cobra.Command) error {
	if !f.otlp {
		if cmd.Flags().Changed("otlp-spans") {
			return errors.New("--otlp-spans works only with --otlp; give that as well")
		}
		return nil
	}
	if f.otlpSpans < 1 {
		return fmt.Errorf("--otlp-spans %d: give at least 1", f.otlpSpans)
	}
	cfg, err := traceConfig(f.trace)
	if err != nil {
		return fmt.Errorf("--otlp: %w", err)
	}
	cfg.MaxSpans = f.otlpSpans
	f.exporter = otlp.New(cfg, otlp.NewSender(cfg))
	return nil
}
