package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/process"
)

// whereFlags are the flags that choose items.
type whereFlags struct {
	expr    string
	unknown string
	filter  *filter.Filter // set by check; nil where everything is chosen, and else for questions about itself
}

const (
	unknownShow = "show"
	unknownHide = "hide"
)

func (f *whereFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	addExpression(flags, &f.expr, "where", "show only events for which this `expression` is true: see 'taskwatch help filter'")
	flags.StringVar(&f.unknown, "unknown", unknownShow, "with --where, what to do with events that lack a fact it asks for: `show`, with a\nmark, or hide")
	complete(cmd, "where", cobra.NoFileCompletions)
	complete(cmd, "unknown", cobra.FixedCompletions([]string{unknownShow, unknownHide}, cobra.ShellCompDirectiveNoFileComp))
}

func (f *whereFlags) check(cmd *cobra.Command) error {
	switch {
	case f.unknown != unknownShow && f.unknown != unknownHide:
		return fmt.Errorf("--unknown %q: unknown; choose show or hide", f.unknown)
	case f.expr == "" && !cmd.Flags().Changed("where") && cmd.Flags().Changed("unknown"):
		return errors.New("--unknown works only with --where; give that as well")
	}
	var err error
	f.filter, err = parseWhere(cmd, f.expr, filter.Options{})
	return err
}

// parseWhere parses the expression of --where, and returns nil where there is none.
func parseWhere(cmd *cobra.Command, expr string, opts filter.Options) (*filter.Filter, error) {
	switch {
	case expr == "" && cmd.Flags().Changed("where"):
		return nil, errors.New("--where: the expression is empty; see 'taskwatch help filter'")
	case expr == "":
		return nil, nil
	}
	parsed, err := filter.Parse(expr, opts)
	if err != nil {
		return nil, fmt.Errorf("--where: %w", err)
	}
	if parsed.Never() {
		return nil, fmt.Errorf("--where %s: no event can match; see 'taskwatch help filter'", expr)
	}
	return parsed, nil
}

// failed reports whether the expression is about execs that failed and no event.
func (f *whereFlags) failed() bool {
	return f.filter != nil && f.filter.Kinds() == 0 && f.filter.FailedExecs()
}

// kinds returns the kinds to show, of those asked for, where 0 stands for the
// usual ones. One that says itself which kinds it is about needs no -e.
func (f *whereFlags) kinds(asked, usual taskwatch.Kinds) (taskwatch.Kinds, error) {
	if f.filter == nil {
		if asked == 0 {
			return usual, nil
		}
		return asked, nil
	}
	can := f.filter.Kinds()
	switch {
	case can == 0: // what it is about has facts of its task, which execs tell
		return taskwatch.KindsOf(taskwatch.Exec), nil
	case asked != 0:
		if asked&can == 0 {
			return 0, fmt.Errorf("--where %s: only %s can match, but --event asks for %s", f.expr, can, asked)
		}
		return asked & can, nil
	case f.filter.Names("kind") || usual&can == 0:
		return can, nil
	}
	return usual & can, nil
}

// chooser is a sink that hands on the items that an expression chooses.
type chooser struct {
	taskwatch.Sink
	filter *filter.Filter
	kinds  taskwatch.Kinds // of events that the sink behind is about
	hide   bool            // what nobody can tell

	// pass, if set, gets the events that are not chosen. all says that it needs
	// those of all tasks.
	pass  func(taskwatch.Item)
	all   bool
	marks *filter.Marks
	tree  process.Tree
}

// choice puts a chooser before a sink. What is chosen is chosen before the
// queue, but for text, which has to know of the rest.
type choice struct {
	where *whereFlags
	kinds taskwatch.Kinds
	live  bool // the processes are those of this machine, now
	none  bool // everything is chosen
	pass  func(taskwatch.Item)
	all   bool
	marks filter.Marks
}

// behind returns what stands behind the queue.
func (c *choice) behind(sink taskwatch.Sink) (taskwatch.Sink, error) {
	if c.none {
		return sink, nil
	}
	sink = &marker{Sink: sink, marks: &c.marks}
	if c.pass == nil {
		return sink, nil
	}
	return c.chooser(sink)
}

// before returns what stands before the queue.
func (c *choice) before(sink taskwatch.Sink) (taskwatch.Sink, error) {
	if c.none || c.pass != nil {
		return sink, nil
	}
	return c.chooser(sink)
}

func (c *choice) chooser(to taskwatch.Sink) (taskwatch.Sink, error) {
	options := filter.Options{}
	if c.live && c.where.filter.Names("container") {
		options.Names = containerNames()
	}
	f, err := filter.Parse(c.where.expr, options) // one for each goroutine
	if err != nil {
		return nil, err
	}
	ch := &chooser{Sink: to, filter: f, kinds: c.kinds, hide: c.where.unknown == unknownHide, pass: c.pass, all: c.all, marks: &c.marks}
	ch.tree.Remember = 1024 // records and failures may come after the end
	if f.Tree() && c.live {
		if err := ch.tree.Scan(); err != nil {
			return nil, fmt.Errorf("--where: the processes of the machine cannot be read: %w", err)
		}
	}
	return ch, nil
}

// Wants returns what the sink behind wants, with what the expression reads.
func (c *chooser) Wants() taskwatch.Wants {
	w := taskwatch.Wants{}
	for k, fields := range c.Sink.Wants() {
		w[k] = fields
		if c.kinds.Has(k) {
			w[k] |= c.filter.Reads()
		}
	}
	if c.filter.Tree() {
		for _, k := range process.Kinds.List() {
			w[k] |= process.Fields
		}
	}
	return w
}

func (c *chooser) Take(it taskwatch.Item) {
	var p *process.Process
	if c.filter.Tree() {
		if p = c.tree.Take(it).Process; p == nil {
			p = c.tree.Of(it.Task())
		}
	}
	answer := filter.No
	if it.Event == nil || c.kinds.Has(it.Event.Kind) {
		answer = c.filter.Match(it, p)
	}
	switch {
	case answer == filter.No, answer == filter.Unknown && c.hide:
		if c.pass != nil {
			c.pass(it)
		}
		return
	case answer == filter.Unknown:
		c.marks.Add(it)
	}
	c.Sink.Take(it)
}

// Only returns which tasks can be chosen, unless the sink behind has to know of
// the rest.
func (c *chooser) Only() taskwatch.Only {
	if c.all {
		return taskwatch.Only{}
	}
	return c.filter.Only(c.kinds)
}

// WantsFailedExecs returns whether the sink behind wants them.
func (c *chooser) WantsFailedExecs() bool { return taskwatch.WantsFailedExecs(c.Sink) }

// marker is a sink that tells the one behind which items are marked.
type marker struct {
	taskwatch.Sink
	marks *filter.Marks
}

// unsure is a sink that can show that nobody can tell.
type unsure interface{ TakeUnsure(taskwatch.Item) }

func (m *marker) Take(it taskwatch.Item) {
	if u, ok := m.Sink.(unsure); ok && m.marks.Take(it) {
		u.TakeUnsure(it)
		return
	}
	m.Sink.Take(it)
}

// WantsFailedExecs returns whether the sink behind wants them.
func (m *marker) WantsFailedExecs() bool { return taskwatch.WantsFailedExecs(m.Sink) }

// EndBatch is for sinks behind a queue.
func (m *marker) EndBatch() {
	if b, ok := m.Sink.(interface{ EndBatch() }); ok {
		b.EndBatch()
	}
}

func (m *marker) Close(ctx context.Context) error { return m.Sink.Close(ctx) }

// passer has a sink that follows the processes see the events that it does not
// show.
func passer(sink taskwatch.Sink) func(taskwatch.Item) {
	if s, ok := sink.(interface{ Pass(taskwatch.Item) }); ok {
		return s.Pass
	}
	return nil
}

// needsAll reports whether a sink that follows the processes has to see the events
// of all tasks, and not only what was since a task was first chosen.
func needsAll(sink taskwatch.Sink) bool {
	if s, ok := sink.(interface{ NeedsAll() bool }); ok {
		return s.NeedsAll()
	}
	return passer(sink) != nil
}

func newFilterHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "filter",
		Short: "How to choose events with --where",
		Long: `An expression in CEL (https://cel.dev) chooses the events that are shown:

  taskwatch watch --where 'kind == "exec" && user == "www-data"'
  taskwatch replay --where 'exit.code != 0 || exit.signal != 0' build.jsonl
  taskwatch run --where 'argv.exists(a, a == "--force")' -- make

There are && || ! == != < <= > >= in, texts in quotes with startsWith, endsWith,
contains and matches (a regular expression), lists with exists, all and size,
duration("1.5s") and timestamp("2026-11-23T16:30:49Z"). tree(PID) is true for a
process and all its descendants; parent and ancestors are the processes that
made this one:

  taskwatch watch --where 'tree(4711) || ancestors.exists(p, p.comm == "sshd")'

An event that does not have a field, such as exit.code of an exec, does not
match; has(exit.code) asks whether its kind has it. A fact that the source could
not obtain is unknown, and so is what was cut off from argv and env. If the
answer depends on such a fact, the event is shown with a question mark
("unsure":true in JSON), unless --unknown=hide is given. Losses are always
shown.

taskwatch asks docker.sock, podman.sock, containerd and CRI-O for
container.name, .image and .labels in the background; they are unknown until one
has answered. DOCKER_HOST, CONTAINER_HOST and CONTAINER_RUNTIME_ENDPOINT name
other sockets, as unix://PATH. The id follows from the cgroup. container.user is
what the container's own /etc/passwd says, so it proves nothing.

taskwatch gathers only the fields that the expression reads, and only the kinds
of event that it can match. The summary covers all events. A timeline (.html)
has all processes, and shows those that the expression chooses.

With the source bpf, watch leaves out other tasks in the kernel if the
expression is uid == N, uid in [N, M], the same of pid, cgroup_id or comm, or
some of these joined by && to anything else. So does the daemon. A pid counts
only where no free events are shown (-e exec,exit). parent, ancestors, tree,
parent_id and old_exe need all tasks, and so do the summary, --otlp, --env-diff
and outputs other than text, json, csv, sql and sh. Of a task that was left out
before, parent_id and old_exe are missing, and if its name or cgroup changed in
the middle of an exec or just before its end, exe, argv and cwd as well. Text is
indented below the tasks that are not left out, and may tell "at least" how long
a program ran.

The fields of an event:

` + strings.Join(filter.Describe(), "\n"),
	}
}
