package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/report"
)

// usualColumns are those of a format that has to have some.
const usualColumns = "time,kind,user,pid,ppid,comm,exe,args,code,signal"

// tableFlags are the flags about columns, names and times.
type tableFlags struct {
	list    string
	numeric bool
	time    string
	color   string
}

func (f *tableFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.list, "columns", "", "show these `columns`, comma-separated: see 'taskwatch help columns'")
	flags.BoolVar(&f.numeric, "numeric", false, "show users and groups as numbers in columns")
	flags.StringVar(&f.time, "time", string(report.TimeLocal), "`how` to show times: "+strings.Join(timeStyles(), ", "))
	flags.StringVar(&f.color, "color", "auto", "`when` text has colours: auto (on a terminal), always or never")
	complete(cmd, "columns", completeColumns)
	complete(cmd, "time", cobra.FixedCompletions(timeStyles(), cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
}

func timeStyles() []string {
	var names []string
	for _, s := range report.TimeStyles {
		names = append(names, string(s))
	}
	return names
}

// completeColumns completes the last name of a list.
func completeColumns(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndex(typed, ",")+1]
	names, _ := report.ColumnNames()
	for i := range names {
		names[i] = before + names[i]
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func (f *tableFlags) check(cmd *cobra.Command) error {
	if !slices.Contains(timeStyles(), f.time) {
		return fmt.Errorf("--time %q: unknown; choose one of %s", f.time, strings.Join(timeStyles(), ", "))
	}
	if !slices.Contains([]string{"auto", "always", "never"}, f.color) {
		return fmt.Errorf("--color %q: unknown; choose auto, always or never", f.color)
	}
	if f.list == "" && cmd.Flags().Changed("columns") {
		return errors.New("--columns: no column given; see 'taskwatch help columns'")
	}
	_, err := f.columns(formatText)
	return err
}

// columns returns the columns asked for, or nil where the format has its own
// lines.
func (f *tableFlags) columns(format string) (*report.Columns, error) {
	list := f.list
	switch {
	case list == "" && format == formatCSV:
		list = usualColumns
	case list == "":
		return nil, nil
	}
	c, err := report.ParseColumns(list, f.numeric, f.clock())
	if err != nil {
		return nil, fmt.Errorf("--columns: %s", strings.TrimPrefix(err.Error(), "report: "))
	}
	return c, nil
}

func (f *tableFlags) clock() *report.Clock { return &report.Clock{Style: report.TimeStyle(f.time)} }

func newColumnsHelp() *cobra.Command {
	var b strings.Builder
	names, docs := report.ColumnNames()
	for i := range names {
		fmt.Fprintf(&b, "  %-18s %s\n", names[i], docs[i])
	}
	return &cobra.Command{
		Use:   "columns",
		Short: "The columns that --columns can show",
		Long: `With --columns, events are shown as a table. In text, a dash stands for a value
that is missing. With -f csv, the first line has the names of the columns. With
-f json, each row is an object with these keys, without those that are missing;
such objects are not a recording. Losses, errors, execs that failed and records
of modules are lines of their own in text; csv and json leave them out. Where
--where reads a fact that is not known, text and json mark the row; csv has the
column unsure for that, and without it a message counts such rows.

Users and groups are shown by the names in this machine's local files; with
--numeric they are numbers. Times are local, with the date if it is not today;
--time=utc is the same in UTC, unix is seconds since 1970, relative is seconds
since the first event, delta is seconds since the event before.

` + strings.TrimSuffix(b.String(), "\n"),
	}
}
