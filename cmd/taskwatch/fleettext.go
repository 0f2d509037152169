package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
)

// fleetFormat says how to write what nodes say.
type fleetFormat struct {
	format  string
	threads bool
}

func (f *fleetFormat) add(cmd *cobra.Command) {
	addFormat(cmd, &f.format)
	// People look at a terminal, and programs read the rest.
	flag := cmd.Flags().Lookup("format")
	flag.Usage, flag.DefValue, f.format = "`how` to write items: text or json\n(default text on a terminal, json otherwise)", "", ""
	cmd.Flags().BoolVar(&f.threads, "threads", false, "show threads in text, not processes only; json has them always")
}

// open returns what makes text of events of some kinds for a file, or nil for JSON lines.
func (f *fleetFormat) open(out *os.File, kinds taskwatch.Kinds) (*nodeText, error) {
	if f.format == "" {
		if !isTerminal(out) {
			return nil, nil
		}
		f.format = formatText
	}
	if err := checkFormat(f.format); err != nil {
		return nil, usage(err)
	}
	if f.format == formatJSON {
		return nil, nil
	}
	term := terminalOf(out)
	return &nodeText{width: term.width, opts: report.TextOptions{Kinds: kinds, FailedExecs: true, Threads: f.threads, Colour: term.colour}}, nil
}

// nodeText makes lines for people of what nodes say.
type nodeText struct {
	width int // of the terminal, or 0
	opts  report.TextOptions

	names  map[string]string // by name, the key of the first node that is called so
	column int               // the width of the longest name so far
}

// lines returns the lines of what a node says, which may be none; bare ones are without
// the node.
func (t *nodeText) lines(node operator.NodeID, line []byte, bare bool) ([]byte, error) {
	it, err := record.Decode(line)
	if err != nil {
		return nil, err
	}
	name := ""
	if !bare {
		name = t.name(node)
	}
	opts := t.opts
	if t.width > 0 {
		opts.Width = max(t.width-table.Width(name), 1)
	}
	// Only what matches comes, so nobody knows who the parents are, or when a process is
	// gone: each item stands for itself.
	var text bytes.Buffer
	one := report.NewText(&text, opts)
	if record.IsUnsure(line) {
		one.TakeUnsure(it)
	} else {
		one.Take(it)
	}
	var out bytes.Buffer
	for l := range bytes.Lines(text.Bytes()) {
		fmt.Fprintf(&out, "%s%s", name, l)
	}
	return out.Bytes(), nil
}

// name returns what a line of a node begins with. Nodes choose their names: the second
// that has one is shown with its key.
func (t *nodeText) name(node operator.NodeID) string {
	if t.names == nil {
		t.names = map[string]string{}
	}
	first, ok := t.names[node.Name]
	if !ok {
		first, t.names[node.Name] = node.Key, node.Key
	}
	name := node.Name
	if first != node.Key {
		name = nodeName(node.Name, node.Key)
	}
	name = clean.Text(name)
	t.column = max(t.column, table.Width(name))
	return name + strings.Repeat(" ", t.column-table.Width(name)+2)
}
