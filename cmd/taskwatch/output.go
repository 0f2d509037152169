package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/source"
)

const (
	formatText = "text"
	formatJSON = "json"
)

// outputFlags are the flags of every command that shows events.
type outputFlags struct {
	events  string
	format  string
	file    string
	threads bool
	summary bool
	top     int
	sort    string
}

func (f *outputFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.events, "event", "e", "", "show only these `events`, comma-separated: "+taskwatch.AllKinds.String()+"\n(default "+report.DefaultKinds.String()+" as text, all as json)")
	flags.StringVarP(&f.format, "format", "f", formatText, "`how` to write them: text for people, or json, a recording, one object a line")
	flags.StringVarP(&f.file, "output", "o", "", "write the events to this `file`")
	flags.BoolVar(&f.threads, "threads", false, "show threads in text, not processes only; json has them always")
	flags.BoolVar(&f.summary, "summary", false, "at the end, show totals, the slowest and hungriest commands, those that failed,\nand the critical path (see below); as one JSON object with -f json")
	flags.IntVar(&f.top, "top", 0, "with --summary, show this `number` of lines of each list (default 10)")
	flags.StringVar(&f.sort, "sort", "", "with --summary, sort commands and programs by `what`: "+sortNames())
	complete(cmd, "event", completeEvents)
	complete(cmd, "sort", cobra.FixedCompletions(strings.Split(sortNames(), ", "), cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "format", cobra.FixedCompletions([]string{formatText, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
}

// summaryHelp defines the words of a summary.
const summaryHelp = `In the summary, each program of a process counts for itself: from its exec to
the next exec, or to the end of the process. A fork that runs no program counts
from its birth. WALL is that time; CPU is what the tasks that ended meanwhile
have used, user and system time together; MAX RSS is the most memory that was
resident at once, as told at the end. A mark says where a number is only a
bound: >1s where the beginning was not seen, <1s where earlier programs of the
process are in it. STATUS exec: another program followed.

"parallel" counts the processes that have no live child: those at work, rather
than waiting for others. The critical path goes from the end back, always into
the child whose exit came last before its parent's next event or exit; its
steps add up to the wall time. It is a heuristic, since waits are not seen.
Both are shown where all processes descend from one.`

// sortNames lists the numbers to sort by.
func sortNames() string {
	var names []string
	for _, s := range report.Sorts {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// checkSummary reports what is wrong with the flags of the summary.
func (f *outputFlags) checkSummary(cmd *cobra.Command) error {
	for _, name := range []string{"top", "sort"} {
		if cmd.Flags().Changed(name) && !f.summary {
			return fmt.Errorf("--%s: it is about the summary; give --summary as well", name)
		}
	}
	if cmd.Flags().Changed("top") && f.top < 1 {
		return fmt.Errorf("--top %d: a list needs one line at least", f.top)
	}
	if cmd.Flags().Changed("sort") && !slices.Contains(report.Sorts, report.SortBy(f.sort)) {
		return fmt.Errorf("--sort %q: unknown; choose one of %s", f.sort, sortNames())
	}
	return nil
}

// complete sets what a shell offers for a flag.
func complete(cmd *cobra.Command, flag string, fn cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err) // no such flag
	}
}

// completeEvents completes the last name of a list.
func completeEvents(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndex(typed, ",")+1]
	var list []string
	for _, k := range taskwatch.AllKinds.List() {
		list = append(list, before+k.String())
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// kinds returns the kinds asked for, and 0 if none were.
func (f *outputFlags) kinds() (taskwatch.Kinds, error) {
	if f.events == "" {
		return 0, nil
	}
	kinds, err := taskwatch.ParseKinds(f.events)
	if err != nil {
		return 0, fmt.Errorf("--event %s: %s", f.events, strings.TrimPrefix(err.Error(), "taskwatch: "))
	}
	return kinds, nil
}

// output shows the events of one source.
type output struct {
	flags *outputFlags
	kinds taskwatch.Kinds
	name  string   // of the file, for errors
	file  *os.File // the events
	owned bool     // file is ours to close

	// summaryTo gets the summary.
	summaryTo *os.File

	// broken, if set, is called when the events cannot be written.
	broken func()

	reg       *taskwatch.Registry
	shown     taskwatch.Sink // what gets the items: a recording or text, or the queue to it
	queue     *taskwatch.Queue
	recording *record.Writer
	summary   *report.Summary
}

// check reports what is wrong with the flags.
func (f *outputFlags) check(cmd *cobra.Command) error {
	if _, err := f.kinds(); err != nil {
		return err
	}
	if f.events == "" && cmd.Flags().Changed("event") {
		return fmt.Errorf("--event: no event given: events are %s", taskwatch.AllKinds)
	}
	if err := checkFormat(f.format); err != nil {
		return err
	}
	if f.file == "" && cmd.Flags().Changed("output") {
		return errors.New("--output: the name of the file is empty")
	}
	return f.checkSummary(cmd)
}

// open opens the output. Without a file, events go to home. Nothing is
// written yet.
func (f *outputFlags) open(home *os.File) (*output, error) {
	kinds, err := f.kinds()
	if err != nil {
		return nil, err
	}
	o := &output{flags: f, kinds: kinds, name: home.Name(), file: home, summaryTo: home}
	switch {
	case f.file == "-" && home != os.Stdout:
		return nil, errors.New("--output -: standard output belongs to the command; name a file, or leave the flag out for standard error")
	case f.file == "-" || f.file == "":
	default:
		// The command that is run must not inherit the file: os.OpenFile
		// sees to that (close-on-exec).
		file, err := os.OpenFile(f.file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return nil, fmt.Errorf("--output %q: %w; give a file that can be written", f.file, cause(err))
		}
		o.name, o.file, o.owned = f.file, file, true
	}
	if f.format == formatJSON && !o.owned {
		o.summaryTo = os.Stderr // a recording holds nothing else
	}
	return o, nil
}

// backlog says what becomes of events that cannot be written fast enough.
type backlog int

const (
	holdUp backlog = iota // they are written in place: the source waits
	queued                // 64 MiB of them wait in memory, then the source does
	drop                  // the same, and then they are lost, and counted in their place
)

// attach attaches what shows the events of src.
func (o *output) attach(reg *taskwatch.Registry, src source.Source, w backlog) error {
	caps := src.Capabilities()
	for _, k := range o.kinds.List() {
		if c := caps.Events[k]; !c.Delivered {
			return fmt.Errorf("--event %s: the source %s does not deliver it: %s; leave it out or choose another source", k, src.Name(), c.Why)
		}
	}
	o.reg = reg
	var sink taskwatch.Sink
	if o.flags.format == formatJSON {
		kinds := o.kinds
		if kinds == 0 {
			kinds = taskwatch.AllKinds
		}
		o.recording = record.NewWriter(o, taskwatch.WantAll(kinds))
		sink = o.recording
	} else {
		term := terminalOf(o.file)
		sink = report.NewText(o, report.TextOptions{
			Kinds:   o.kinds,
			Threads: o.flags.threads,
			Width:   term.width,
			Colour:  term.colour,
		})
	}
	if w != holdUp {
		o.queue = taskwatch.NewQueue(sink, taskwatch.QueueOptions{Block: w == queued})
		sink = o.queue
	}
	o.shown = sink
	if o.flags.summary {
		o.summary = report.NewSummary(report.SummaryOptions{
			Width: terminalOf(o.summaryTo).width, Top: o.flags.top, Sort: report.SortBy(o.flags.sort),
		})
		if err := reg.Attach(o.summary); err != nil {
			return err
		}
	}
	return reg.Attach(sink)
}

// Write writes to the file.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.file.Write(b)
	if err != nil && o.broken != nil {
		o.broken()
	}
	return n, err
}

// flush writes what has been gathered. Its errors are those of close.
func (o *output) flush() {
	if o.queue != nil {
		_ = o.queue.Sync(context.Background())
	}
	if o.recording != nil {
		_ = o.recording.Flush()
	}
}

// close writes what is left, and the summary, and closes the file. It returns
// the first error of all that was written.
func (o *output) close() error {
	var err error
	if o.shown != nil {
		err = o.reg.Detach(context.Background(), o.shown)
	}
	if o.owned {
		if e := o.file.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		err = fmt.Errorf("the events in %q are not complete: %w; write them elsewhere with --output", o.name, cause(err))
	}
	if o.summary != nil {
		_ = o.reg.Detach(context.Background(), o.summary)
		if e := o.writeSummary(); e != nil && err == nil {
			err = fmt.Errorf("the summary in %q is not complete: %w", o.summaryTo.Name(), cause(e))
		}
	}
	return err
}

func (o *output) writeSummary() error {
	if o.flags.format == formatJSON {
		return o.summary.WriteJSON(o.summaryTo)
	}
	_, err := o.summary.WriteTo(o.summaryTo)
	return err
}
