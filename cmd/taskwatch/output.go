package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/outfile"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/sink/compiledb"
	"github.com/taskwatch/taskwatch/sink/folded"
	"github.com/taskwatch/taskwatch/sink/otlp"
	"github.com/taskwatch/taskwatch/source"
)

// The values of --folded.
const (
	foldedCPU  = "cpu"
	foldedWall = "wall"
)

// outputFlags are the flags of every command that shows events.
type outputFlags struct {
	events  []string // lists
	format  string
	shell   bool // the format is to be shell
	files   []string
	fields  string
	env     envFlags
	keep    bool
	threads bool
	summary bool
	screen  bool // events are on a screen: they are written to files only
	top     int
	sort    string
	where   whereFlags
	table   tableFlags

	folded    string
	otlp      bool
	otlpSpans int
	exporter  *otlp.Sink // with otlp
	trace     [16]byte   // the id that spans are to have, or zeros

	compilersFile string
	compilers     compiledb.Options // read from it
}

func (f *outputFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.events, "event", "e", nil, "show only these `events`, comma-separated: "+taskwatch.AllKinds.String()+"\nor all; may be given several times (default "+report.DefaultKinds.String()+"\nas text, all as json). exec-failed adds execs that failed (alone, to exec):\nunder bpf each system call of the machine takes some ns longer, under ptrace\neach exec stops twice more")
	f.where.add(cmd)
	f.table.add(cmd)
	flags.StringVarP(&f.format, "format", "f", formatText, "`how` to write them if no file ending says so: text for people, json, a\nrecording, one object a line, csv, or shell, each exec as a line to be run again")
	flags.BoolVar(&f.shell, "shell", false, "the same as --format shell: cd, the environment if it is recorded, and the\narguments, quoted for bash, zsh and ksh")
	flags.StringArrayVarP(&f.files, "output", "o", nil, "write the events to this `file`; may be given several times. The ending\nchooses the format: "+endingsHelp())
	flags.StringVar(&f.fields, "fields", "", "in a recording, write these optional `fields` too, comma-separated, or all:\n"+strings.Join(taskwatch.OptionalFields.Groups(), ","))
	f.env.add(cmd)
	flags.BoolVar(&f.keep, "append", false, "with --output, keep the contents of a file and append to them")
	flags.BoolVar(&f.threads, "threads", false, "show threads in text, not processes only; json always has them")
	flags.BoolVar(&f.summary, "summary", false, "at the end, show totals, the slowest and hungriest commands, those that failed,\nand the critical path (see below); as one JSON object with -f json")
	flags.IntVar(&f.top, "top", 0, "with --summary, show this `number` of lines of each list (default 10)")
	flags.StringVar(&f.sort, "sort", "", "with --summary, sort commands and programs by `what`: "+sortNames())
	flags.BoolVar(&f.otlp, "otlp", false, "at the end, send spans to where the variables OTEL_EXPORTER_OTLP_* say\n(http://localhost:4318): see docs/export.md")
	flags.IntVar(&f.otlpSpans, "otlp-spans", otlp.DefaultMaxSpans, "with --otlp, send at most this `number` of spans")
	flags.StringVar(&f.folded, "folded", foldedCPU, "`what` the lines of a .folded count, in microseconds: cpu, the CPU time, or\nwall, the time for which a process had no live child")
	flags.StringVar(&f.compilersFile, "compilers", "", "read more rules for compile_commands.json from this `file`: see docs/export.md")
	complete(cmd, "event", completeEvents)
	complete(cmd, "folded", cobra.FixedCompletions([]string{foldedCPU, foldedWall}, cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "sort", cobra.FixedCompletions(strings.Split(sortNames(), ", "), cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "format", cobra.FixedCompletions(formatNames(), cobra.ShellCompDirectiveNoFileComp))
}

// summaryHelp defines the words of a summary.
const summaryHelp = `In the summary, each program of a process counts for itself: from its exec to
the next exec, or to the end of the process. A fork that runs no program counts
from its birth. WALL is that time. CPU is the user and system time of the tasks
that ended meanwhile. MAX RSS is the most memory that was resident at once, as
the kernel reports it at the end. A mark shows that a number is only a bound:
>1s where the beginning was not seen, <1s where it includes earlier programs of
the process: always their memory, their CPU time only where the source does not
know it. bpf knows it as of the last clock tick before the exec, a few
milliseconds at most. STATUS exec means that another program followed.

"parallel" counts the processes that have no live child: those that work rather
than wait for others. The critical path goes backwards from the end, always into
the child whose exit came last before its parent's next event or exit. Its steps
add up to the wall time. It is a heuristic, since taskwatch does not see waits.
Both are shown only if all processes descend from one.`

// sortNames lists the numbers to sort by.
func sortNames() string {
	var names []string
	for _, s := range report.Sorts {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// optional returns the optional fields asked for.
func (f *outputFlags) optional() (taskwatch.Fields, error) { return parseOptional(f.fields) }

// parseOptional reads the value of --fields.
func parseOptional(list string) (taskwatch.Fields, error) {
	if list == "" {
		return 0, nil
	}
	fields, err := taskwatch.ParseFields(list)
	if err != nil {
		return 0, fmt.Errorf("--fields %s: %s", list, strings.TrimPrefix(err.Error(), "taskwatch: "))
	}
	return fields & taskwatch.OptionalFields, nil // a recording has the others anyhow
}

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
	list = append(list, before+taskwatch.FailedExecName)
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// failed reports whether execs that failed are asked for.
func (f *outputFlags) failed() bool {
	asked, _ := cutFailed(strings.Join(f.events, ","))
	return asked || f.where.failed()
}

// cutFailed reports whether a list of events names execs that failed, which are
// no kind of event, and returns the list without them.
func cutFailed(list string) (asked bool, rest string) {
	names := strings.Split(list, ",")
	kept := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return strings.EqualFold(strings.TrimSpace(name), taskwatch.FailedExecName) })
	return len(kept) < len(names), strings.Join(kept, ",")
}

// kinds returns the kinds asked for, and 0 if none were.
func (f *outputFlags) kinds() (taskwatch.Kinds, error) {
	if f.events == nil {
		return 0, nil
	}
	list := strings.Join(f.events, ",")
	if failed, rest := cutFailed(list); failed {
		if list = rest; list == "" {
			return taskwatch.KindsOf(taskwatch.Exec), nil
		}
	}
	kinds, err := taskwatch.ParseKinds(list)
	if err != nil {
		return 0, fmt.Errorf("--event %s: %s", list, strings.TrimPrefix(err.Error(), "taskwatch: "))
	}
	return kinds, nil
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
	return cmp.Or(errors.Join(f.checkSummary(cmd), f.where.check(cmd), f.table.check(cmd), f.env.check(cmd)), f.checkFailed(), f.checkEnvDiff())
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

// formatOf returns the format of a file: that of its ending, or else that of
// --format.
func (f *outputFlags) formatOf(name string) *fileFormat {
	if byEnding := formatOfFile(name); byEnding != nil {
		return byEnding
	}
	named, _ := formatNamed(f.format) // check has seen it
	return named
}

// narrows reports whether the outputs need only events that --where chooses, and
// none of them to know what else happens.
func (f *outputFlags) narrows() bool {
	if f.where.filter == nil || f.summary || f.exporter != nil || f.where.filter.Only(0).All() {
		return false
	}
	for _, name := range append(slices.Clone(f.files), "-")[:max(1, len(f.files))] {
		if name := f.formatOf(name).name; name != formatJSON && name != formatCSV {
			return false
		}
	}
	return true
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

// traceConfig returns what the environment says about spans. A trace that is given
// goes before that of the environment.
func traceConfig(trace [16]byte) (*otlp.Config, error) {
	cfg, err := otlp.FromEnv(os.Getenv, otlp.Traces)
	if err == nil && trace != [16]byte{} && cfg.TraceID != trace {
		cfg.TraceID, cfg.Parent, cfg.NotSampled = trace, [8]byte{}, false
	}
	return cfg, err
}

// weight returns what --folded asks for.
func (f *outputFlags) weight() folded.Weight {
	if f.folded == foldedWall {
		return folded.Wall
	}
	return folded.CPU
}

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

// outputFile is one file that items are written to.
type outputFile struct {
	File   *os.File          // not embedded: nothing is to be written past Write
	name   string            // for errors
	owned  bool              // the file is ours to close
	whole  *outfile.Document // the file, where it is written as a whole; or nil
	log    *outfile.Log      // the file, where it is lines, and others may rotate it; or nil
	behind bool              // it holds something already
	format *fileFormat
	broken func() // or nil

	notes    interface{ Notes() []string } // of what was left out; or nil
	partial  interface{ Incomplete() }     // of a recording; or nil
	attached taskwatch.Sink                // or nil
	flushers []func()                      // in the order of an item's way
}

// Write writes to the file.
func (f *outputFile) Write(b []byte) (int, error) {
	to := io.Writer(f.File)
	if f.log != nil {
		to = f.log
	}
	n, err := to.Write(b)
	if err != nil && f.broken != nil {
		f.broken()
	}
	return n, err
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

// openFile opens a file; "-" and "" stand for home.
func (f *outputFlags) openFile(name string, home *os.File) (*outputFile, error) {
	switch {
	case name == "-" && home != os.Stdout:
		return nil, errors.New("--output -: standard output belongs to the command; name a file, or leave the flag out for standard error")
	case name == "-" || name == "":
		return &outputFile{File: home, name: home.Name(), format: f.formatOf(name)}, nil
	}
	out := &outputFile{name: name, owned: true, format: f.formatOf(name)}
	var err error
	if out.format.document {
		if out.whole, err = outfile.Create(name); err == nil {
			out.File = out.whole.File
		}
	} else if out.format.single {
		out.File, err = outfile.Open(name, f.keep)
	} else if out.format.records > 0 {
		out.File, err = outfile.OpenRecords(name, f.keep, out.format.records)
	} else if out.log, err = outfile.OpenLog(name, f.keep, outfile.LogOptions{Report: func(err error) {
		if errors.Is(err, outfile.ErrCut) {
			say("--output %q: %v", name, err)
			return
		}
		say("--output %q: %v; lines go on to the file that is open", name, cause(err))
	}}); err == nil {
		out.File = out.log.File()
		st, err := out.File.Stat()
		out.behind = err == nil && st.Mode().IsRegular() && st.Size() > 0
	}
	var locked *outfile.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("--output %w; wait until it ends, or write elsewhere", locked)
	case err != nil:
		return nil, fmt.Errorf("--output %q: %w; give a file that can be written", name, cause(err))
	}
	return out, nil
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
	opts := formatOptions{kinds: o.kinds, fields: fields, threads: o.flags.threads, table: o.flags.table, compilers: o.flags.compilers, folded: o.flags.weight(), trace: o.flags.trace, envDiff: o.flags.env.diff}
	if w == asRecorded {
		if o.flags.fields == "" {
			opts.fields = taskwatch.OptionalFields
		}
		opts.failed = o.flags.events == nil || o.flags.failed()
	} else {
		opts.failed = o.flags.failed()
		opts.start = source.NewStart(src, o.command)
		opts.environ, opts.live = environ, true
	}
	for _, f := range o.files {
		f.broken = o.broken
		if err := f.attach(reg, o.flags, opts, w); err != nil {
			return err
		}
	}
	return nil
}

func (f *outputFile) attach(reg *taskwatch.Registry, flags *outputFlags, opts formatOptions, w backlog) error {
	where := &flags.where
	var err error
	if f.format.usual != 0 {
		if opts.kinds, err = where.kinds(opts.kinds, f.format.usual); err != nil {
			return err
		}
	}
	opts.file, opts.log, opts.behind = f.File, f.log, f.behind
	sink, err := f.format.open(f, opts)
	if err != nil {
		return fmt.Errorf("--output %q: %w", f.name, err)
	}
	choose := choice{where: where, kinds: opts.kinds, live: w != asRecorded, pass: passer(sink)}
	choose.none = f.format.usual == 0 || where.filter == nil
	f.notes, _ = sink.(interface{ Notes() []string })
	f.partial, _ = sink.(interface{ Incomplete() })
	if s, ok := sink.(interface{ Flush() error }); ok {
		f.flushers = append(f.flushers, func() { _ = s.Flush() }) // its error is that of Close
	}
	if sink, err = choose.behind(sink); err != nil {
		return err
	}
	if w == queued || w == drop {
		queue := taskwatch.NewQueue(sink, taskwatch.QueueOptions{Block: w == queued})
		f.flushers = slices.Insert(f.flushers, 0, func() { _ = queue.Sync(context.Background()) })
		sink = queue
	}
	if sink, err = choose.before(sink); err != nil {
		return err
	}
	sink = flags.env.before(sink)
	if err := reg.Attach(sink); err != nil {
		return errors.Join(err, sink.Close(context.Background()))
	}
	f.attached = sink
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

func (f *outputFile) close(reg *taskwatch.Registry, alone bool) error {
	var err error
	if f.attached != nil {
		progress := showWaiting(alone, "finishing "+clean.Text(filepath.Base(f.name)))
		err = reg.Detach(context.Background(), f.attached)
		progress.end()
		if f.notes != nil {
			for _, note := range f.notes.Notes() {
				say("%s: %s", f.name, note)
			}
		}
	}
	switch {
	case f.whole != nil && (err != nil || f.attached == nil):
		_ = f.whole.Abort()
	case f.whole != nil:
		err = f.whole.Commit()
	case f.log != nil:
		if e := f.log.Close(); err == nil {
			err = e
		}
	case f.owned:
		if e := f.File.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return fmt.Errorf("the events in %q are not complete: %w; write them elsewhere with --output", f.name, cause(err))
	}
	return nil
}

func (o *output) writeSummary() error {
	if o.flags.format == formatJSON {
		return o.summary.WriteJSON(o.summaryTo)
	}
	_, err := o.summary.WriteTo(o.summaryTo)
	return err
}
