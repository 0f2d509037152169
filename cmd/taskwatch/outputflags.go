package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/sink/compiledb"
	"github.com/taskwatch/taskwatch/sink/folded"
	"github.com/taskwatch/taskwatch/sink/otlp"
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
the process. The kernel keeps the most memory of them all, and a fork begins
with its parent's, so the memory has the mark where an earlier program used as
much or more, and where the source does not know: ptrace never does. CPU time
has it only where the source does not know. bpf knows it as of the last clock
tick before the exec, a few milliseconds at most. STATUS exec means that another
program followed.
The line of an exit in text has WALL and CPU of the program that ends.

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
	return f.where.filter != nil && !f.where.filter.Only(0).All()
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
