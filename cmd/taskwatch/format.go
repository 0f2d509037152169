package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/internal/outfile"
	"github.com/taskwatch/taskwatch/process"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/sink/acct"
	"github.com/taskwatch/taskwatch/sink/audit"
	"github.com/taskwatch/taskwatch/sink/chrome"
	"github.com/taskwatch/taskwatch/sink/compiledb"
	"github.com/taskwatch/taskwatch/sink/folded"
	"github.com/taskwatch/taskwatch/sink/html"
	"github.com/taskwatch/taskwatch/sink/otlp"
	"github.com/taskwatch/taskwatch/sink/perfetto"
	"github.com/taskwatch/taskwatch/sink/sqlite"
	"github.com/taskwatch/taskwatch/source"
)

const (
	formatText = "text"
	formatJSON = "json"
	formatCSV  = "csv"

	formatShell = "shell"
)

// fileFormat is a way to write items.
type fileFormat struct {
	name    string   // of --format; "" where only a file's name can ask for it
	endings []string // of the names of files; one without a dot is a whole name
	what    string   // for the help

	// usual are the events that are shown unless others are asked for, and of
	// which --where chooses; 0 where everything is needed.
	usual taskwatch.Kinds

	// chosen says that it has everything, and shows what --where chooses.
	chosen bool

	// document says that it is complete at its end only: the file gets its
	// name then.
	document bool

	// single says that a file holds one: it cannot be appended to.
	single bool

	// records says that it has records of this size, and no lines: others cannot
	// rotate a file that is written.
	records int

	// open returns a sink that writes to w. Its Close ends what is written;
	// w stays open.
	open func(w io.Writer, o formatOptions) (taskwatch.Sink, error)
}

// formatOptions are what the command line says about all formats.
type formatOptions struct {
	kinds   taskwatch.Kinds  // asked for, or the usual ones
	fields  taskwatch.Fields // optional ones asked for
	failed  bool             // failed execs are to be written, if there are any
	start   *taskwatch.Start // what a recording begins with, or nil
	behind  bool             // the file holds something already
	threads bool
	where   *whereFlags
	table   tableFlags
	envDiff bool
	live    bool                           // the events are of this machine, now
	environ func(pid int) ([]string, bool) // of a process that ran before; or nil
	file    *os.File                       // what is written to, in the end
	log     *outfile.Log                   // the same, where others may rotate it; or nil

	compilers compiledb.Options
	folded    folded.Weight
	trace     [16]byte // the id that spans are to have, or zeros
}

// formats are all there are. Each exporter adds a line here.
var formats = []*fileFormat{
	{name: formatText, endings: []string{".txt"}, what: "lines for people", usual: report.DefaultKinds, open: openText},
	{endings: []string{".otlp.jsonl"}, what: "spans as OTLP JSON lines", open: openOTLPFile},
	{name: formatJSON, endings: []string{".jsonl"}, what: "a recording, one object a line", usual: taskwatch.AllKinds, open: openRecordingWriter},
	{name: formatCSV, endings: []string{".csv"}, what: "a table", usual: report.DefaultKinds, open: openCSV},
	{name: formatShell, endings: []string{".sh"}, what: "each exec as a line to be run again", usual: taskwatch.KindsOf(taskwatch.Exec), open: openShellLines},
	{endings: []string{".acct"}, what: "process accounting for lastcomm and sa", usual: taskwatch.KindsOf(taskwatch.Exit), records: acct.RecordLen, open: openAccounting},
	{endings: []string{".audit"}, what: "records of the module auditrec for ausearch and aureport", open: openAudit},
	{endings: []string{".html"}, what: "a timeline for a browser", chosen: true, single: true, open: openHTML},
	{endings: []string{".sql"}, what: "statements for sqlite3", usual: taskwatch.AllKinds, single: true, open: openSQL},
	{endings: []string{".pftrace"}, what: "for ui.perfetto.dev", single: true, open: openPerfetto},
	{endings: []string{".trace.json"}, what: "for chrome://tracing and speedscope", document: true, single: true, open: openChrome},
	{endings: []string{".folded"}, what: "for flame graphs, see --folded", document: true, single: true, open: openFolded},
	{endings: []string{"compile_commands.json"}, what: "a compilation database", document: true, single: true, open: openCompileCommands},
}

// columns returns the columns of a format, or nil where it has its own lines.
func (o formatOptions) columns(format string) (*report.Columns, error) {
	c, err := o.table.columns(format)
	if c != nil && o.live && c.ReadsNames() {
		c.Names = containerNames()
	}
	return c, err
}

func openText(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	columns, err := o.columns(formatText)
	if err != nil {
		return nil, err
	}
	term := terminalOf(o.file)
	switch o.table.color {
	case "always":
		term.colour = true
	case "never":
		term.colour = false
	}
	if o.log != nil {
		o.log.Begin(outfile.Marks{Cut: report.LossLine()})
	}
	return report.NewText(w, report.TextOptions{
		Kinds: o.kinds, FailedExecs: o.failed, Threads: o.threads, Width: term.width, Colour: term.colour,
		Clock: o.table.clock(), Columns: columns, EnvDiff: o.envDiff, Environ: o.environ,
	}), nil
}

func openShellLines(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	if !o.kinds.Has(taskwatch.Exec) {
		return nil, fmt.Errorf("lines for a shell are of execs, and --event and --where leave exec out; put it in, or choose another format")
	}
	if o.log != nil {
		o.log.Begin(outfile.Marks{Cut: report.ShellLossLine()})
	}
	return report.NewShell(w, report.ShellOptions{Env: o.fields.Has(taskwatch.FieldEnv), EnvDiff: o.envDiff, Environ: o.environ}), nil
}

func openCSV(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	columns, err := o.columns(formatCSV)
	if err != nil {
		return nil, err
	}
	rows := report.NewCSV(w, o.kinds, columns)
	if isTerminal(o.file) {
		rows.ForTerminal()
	}
	if o.behind {
		rows.NoHead()
	}
	if o.log != nil {
		o.log.Begin(outfile.Marks{Head: rows.Head})
	}
	return rows, nil
}

func openRecordingWriter(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	columns, err := o.columns(formatJSON)
	switch {
	case err != nil:
		return nil, err
	case columns != nil:
		return report.NewJSONRows(w, o.kinds, columns), nil
	}
	wants := taskwatch.WantAll(o.kinds)
	for k := range wants {
		// A summary of the recording is to know what each program has used. What the
		// source never has need not be called missing in each line.
		before := process.UsageBefore
		if o.start != nil {
			before &^= o.start.Events[k].Missing
		}
		wants[k] |= (o.fields | before) & taskwatch.OptionalOf(k)
	}
	var opts []record.Option
	if o.start != nil {
		opts = append(opts, record.WithStart(o.start))
		if o.log != nil {
			o.log.Begin(outfile.Marks{
				Head: func() []byte { return record.Append(nil, taskwatch.Item{Start: source.StartAgain(o.start)}) },
				Tail: record.AppendEnd(nil), Cut: record.Append(nil, taskwatch.Item{Loss: new(taskwatch.Loss)}),
			})
		}
	}
	if o.failed {
		opts = append(opts, record.WithFailedExecs())
	}
	return record.NewWriter(w, wants, opts...), nil
}

func openSQL(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	s := sqlite.New(w, o.kinds, o.fields)
	if o.failed {
		s.WithFailedExecs()
	}
	return s, nil
}

func openCompileCommands(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	return compiledb.New(w, o.compilers), nil
}

func openOTLPFile(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	cfg, err := traceConfig(o.trace)
	if err != nil {
		return nil, err
	}
	return otlp.New(cfg, otlp.NewFileSender(w)), nil
}

func openAccounting(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	if !o.kinds.Has(taskwatch.Exit) {
		return nil, fmt.Errorf("accounting is of processes that ended, and --event and --where leave exit out; put it in, or choose another format")
	}
	return acct.New(w), nil
}

func openAudit(w io.Writer, _ formatOptions) (taskwatch.Sink, error) { return audit.New(w), nil }

func openPerfetto(w io.Writer, _ formatOptions) (taskwatch.Sink, error) { return perfetto.New(w), nil }

func openChrome(w io.Writer, _ formatOptions) (taskwatch.Sink, error) { return chrome.New(w), nil }

// openHTML opens a timeline, in which --where chooses what is bright and listed:
// without the rest, nothing would be nested.
func openHTML(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	var names *enrich.Names
	if o.live {
		names = containerNames()
	}
	if o.where.filter == nil {
		return html.New(w, names), nil
	}
	f, err := filter.Parse(o.where.expr, filter.Options{Names: names})
	if err != nil {
		return nil, err
	}
	hide := o.where.unknown == unknownHide
	return html.NewFiltered(w, names, f.String(), f.Reads(), func(it taskwatch.Item, p *process.Process) bool {
		answer := f.Match(it, p)
		return answer == filter.Yes || answer == filter.Unknown && !hide
	}), nil
}

func openFolded(w io.Writer, o formatOptions) (taskwatch.Sink, error) {
	return folded.New(w, o.folded), nil
}

// formatNames returns the names for --format.
func formatNames() []string {
	var names []string
	for _, f := range formats {
		if f.name != "" {
			names = append(names, f.name)
		}
	}
	return names
}

// formatNamed returns the format with a name.
func formatNamed(name string) (*fileFormat, error) {
	for _, f := range formats {
		if f.name == name && name != "" {
			return f, nil
		}
	}
	return nil, fmt.Errorf("--format %q: unknown format; choose %s", name, strings.Join(formatNames(), " or "))
}

// otherEndings are those of files that nobody expects lines for people in, and the
// ending that is probably meant.
var otherEndings = map[string]string{
	".json": ".jsonl", ".ndjson": ".jsonl", ".parquet": ".jsonl", ".tsv": ".csv", ".htm": ".html",
	".db": ".sql", ".sqlite": ".sql", ".sqlite3": ".sql",
}

// compressed are the endings of compressed files, which no output is.
var compressed = []string{".gz", ".zst", ".xz", ".bz2", ".lz4"}

// formatOfFile returns the format that the name of a file asks for, or nil.
func formatOfFile(name string) *fileFormat {
	base := strings.ToLower(filepath.Base(name))
	for _, f := range formats {
		if slices.ContainsFunc(f.endings, func(ending string) bool {
			return base == ending || strings.HasPrefix(ending, ".") && strings.HasSuffix(base, ending)
		}) {
			return f
		}
	}
	return nil
}

// meantEnding returns the ending that is probably meant where a file's is that of no
// format and says something else than lines for people, or "".
func meantEnding(name string) string {
	if formatOfFile(name) != nil {
		return ""
	}
	return otherEndings[strings.ToLower(filepath.Ext(name))]
}

// endingsHelp says what the endings of files ask for.
func endingsHelp() string {
	var list []string
	for _, f := range formats {
		list = append(list, strings.Join(f.endings, ", ")+" ("+f.what+")")
	}
	return strings.Join(list, ",\n")
}
