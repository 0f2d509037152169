package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/source"
)

// output shows the items of one source.
type output struct {
	flags *outputFlags
	kinds taskwatch.Kinds
	files []*outputFile

	command []string // that is run, or nil

	// summaryTo gets the summary.
	summaryTo *os.File

	// broken, if set, is called when the events cannot be written.
	broken func()

	reg     *taskwatch.Registry
	summary *report.Summary
	spans   *taskwatch.Queue // with --otlp: a collector holds nothing up
}

// open opens the files. Without one, events go to home. Nothing is written
// yet.
func (f *outputFlags) open(home *os.File) (*output, error) {
	kinds, err := f.kinds()
	if err != nil {
		return nil, err
	}
	o := &output{flags: f, kinds: kinds, summaryTo: home}
	names := f.files
	if len(names) == 0 && !f.screen {
		names = []string{"-"}
		if home != os.Stdout {
			names[0] = ""
		}
	}
	for _, name := range names {
		file, err := f.openFile(name, home)
		if err != nil {
			return nil, errors.Join(err, o.close())
		}
		o.files = append(o.files, file)
		if file.format.name != formatText && !file.owned {
			o.summaryTo = os.Stderr // a recording and a table hold nothing else
		}
	}
	return o, nil
}

// backlog says what becomes of events that cannot be written fast enough.
type backlog int

const (
	holdUp     backlog = iota // they are written in place: the source waits
	queued                    // 64 MiB of them wait in memory, then the source does
	drop                      // the same, and then they are lost, and counted in their place
	asRecorded                // as holdUp; they are those of a recording, with all that it has
)

// attach attaches what shows the events of src.
func (o *output) attach(reg *taskwatch.Registry, src source.Source, w backlog) error {
	caps := src.Capabilities()
	for _, k := range o.kinds.List() {
		if c := caps.Events[k]; !c.Delivered && o.kinds != taskwatch.AllKinds { // all are all that there are
			return fmt.Errorf("--event %s: the source %s does not deliver it: %s; leave it out or choose another source", k, src.Name(), c.Why)
		}
	}
	o.reg = reg
	if o.flags.summary {
		o.summary = report.NewSummary(report.SummaryOptions{
			Width: terminalOf(o.summaryTo).width, Top: o.flags.top, Sort: report.SortBy(o.flags.sort),
		})
		if err := reg.Attach(o.summary); err != nil {
			return err
		}
	}
	if o.flags.exporter != nil {
		o.spans = taskwatch.NewQueue(o.flags.exporter, taskwatch.QueueOptions{})
		if err := reg.Attach(o.spans); err != nil {
			return err
		}
	}
	fields, err := o.flags.optional()
	if err != nil {
		return err
	}
	opts := formatOptions{kinds: o.kinds, fields: fields, threads: o.flags.threads, where: &o.flags.where, table: o.flags.table, compilers: o.flags.compilers, folded: o.flags.weight(), trace: o.flags.trace, envDiff: o.flags.env.diff}
	if w == asRecorded {
		if o.flags.fields == "" {
			opts.fields = taskwatch.OptionalFields
		}
		opts.failed = o.flags.events == nil || o.flags.failed()
	} else {
		opts.failed = o.flags.failed()
		opts.start = source.NewStart(src, o.command)
		opts.environ, opts.live = o.flags.env.environ, true
	}
	for _, f := range o.files {
		f.broken = o.broken
		if err := f.attach(reg, o.flags, opts, w); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what has been gathered. Its errors are those of close.
func (o *output) flush() {
	for _, f := range o.files {
		for _, flush := range f.flushers {
			flush()
		}
	}
}

// incomplete says that the source has stopped early. It comes before close.
func (o *output) incomplete() {
	for _, f := range o.files {
		if f.partial != nil {
			f.partial.Incomplete()
		}
	}
}

// unbegun says that the source does not run: what the files lack is no news then. It
// comes before close.
func (o *output) unbegun() {
	for _, f := range o.files {
		f.notes = nil
	}
}

// abandon closes the files of a source that does not run, of which nothing was written.
func (o *output) abandon() {
	o.unbegun()
	_ = o.close()
}

// close writes what is left, and the summary, and closes the files. It returns
// the first error of each file that was written.
func (o *output) close() error {
	var errs []error
	alone := o.alone()
	for _, f := range o.files {
		errs = append(errs, f.close(o.reg, alone))
	}
	if o.spans != nil {
		// The run is what it is, whether a collector can be reached or not.
		progress := showWaiting(alone, "sending spans")
		err := o.reg.Detach(context.Background(), o.spans)
		progress.end()
		if err != nil {
			say("--otlp: spans were not sent: %v", err)
		}
		for _, note := range o.flags.exporter.Notes() {
			say("--otlp: %s", note)
		}
	}
	if o.summary != nil {
		_ = o.reg.Detach(context.Background(), o.summary)
		if e := o.writeSummary(); e != nil {
			errs = append(errs, fmt.Errorf("the summary in %q is not complete: %w", o.summaryTo.Name(), cause(e)))
		}
	}
	return errors.Join(errs...)
}

// alone reports whether no events go to a terminal.
func (o *output) alone() bool {
	return !slices.ContainsFunc(o.files, func(f *outputFile) bool { return isTerminal(f.File) })
}

func (o *output) writeSummary() error {
	if o.flags.format == formatJSON {
		return o.summary.WriteJSON(o.summaryTo)
	}
	_, err := o.summary.WriteTo(o.summaryTo)
	return err
}
