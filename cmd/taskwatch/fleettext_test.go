package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
)

// Lines for people say which node they are of: also where two have one name, and where a
// name would do something to a terminal. They have the kinds that are shown, and losses.
func TestTextOfNodes(t *testing.T) {
	exec := func(pid int) []byte { return nodeLine(pid) }
	lost := record.Append(nil, taskwatch.Item{Loss: &taskwatch.Loss{Count: 7, Seq: 9}})
	free := record.Append(nil, taskwatch.Item{Event: &taskwatch.Event{Kind: taskwatch.Free, Seq: 4, Time: time.Unix(1_700_000_000, 0), Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 4}, TID: 4, PID: 4, Exe: "/bin/job"}}})
	web, db, other := operator.NodeID{Name: "web", Key: "UAAAAAAAAA"}, operator.NodeID{Name: "database", Key: "UBBBBBBBBB"}, operator.NodeID{Name: "web", Key: "UCCCCCCCCC"}
	evil := operator.NodeID{Name: "a\x1b[2Jb", Key: "UDDDDDDDDD"}
	text := nodeText{opts: report.TextOptions{Kinds: report.DefaultKinds, Location: time.UTC}}
	var got strings.Builder
	for _, l := range []struct {
		node operator.NodeID
		line []byte
	}{{web, exec(1)}, {db, exec(2)}, {web, exec(3)}, {web, free}, {other, lost}, {evil, exec(5)}, {web, exec(6)}} {
		b, err := text.lines(l.node, l.line, false)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(b)
	}
	const time = "2023-11-14 22:13:20.000000 "
	want := []string{
		"web  " + time + "exec ",
		"database  " + time + "exec ",
		"web       " + time + "exec ",
		"web (UCCCCCCC)                  lost ",
		`a\033[2Jb       ` + time + "exec ",
		"web             " + time + "exec ",
	}
	lines := strings.Split(strings.TrimSuffix(got.String(), "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), got.String())
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w) {
			t.Errorf("line %d is %q, want it to begin with %q", i, lines[i], w)
		}
	}
	if !strings.Contains(lines[3], "7") {
		t.Errorf("the loss does not say how many: %q", lines[3])
	}
	if b, err := text.lines(web, exec(1), true); err != nil || !strings.HasPrefix(string(b), time) {
		t.Errorf("a line of a single node is %q, %v", b, err)
	}
	if b, err := text.lines(web, []byte("{"), true); err == nil {
		t.Errorf("what is no item is shown as %q", b)
	}
}

// What is read by a program is JSON lines unless text is asked for; lines that are cut
// for a terminal leave room for the node.
func TestFormatOfNodes(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, c := range []struct {
		format string
		text   bool
		says   string
	}{{"", false, ""}, {formatJSON, false, ""}, {formatText, true, ""}, {"xml", false, `--format "xml": unknown format; choose text or json`}} {
		text, err := (&fleetFormat{format: c.format}).open(null, taskwatch.AllKinds)
		if (text != nil) != c.text || (err == nil) != (c.says == "") || err != nil && err.Error() != c.says {
			t.Errorf("%q: text %v, %v; want %v, %q", c.format, text != nil, err, c.text, c.says)
		}
	}
	cut := nodeText{width: 40, opts: report.TextOptions{Kinds: report.DefaultKinds}}
	long := record.Append(nil, taskwatch.Item{Event: &taskwatch.Event{
		Kind: taskwatch.Exec, Seq: 1, Time: time.Unix(1, 0),
		Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, TID: 1, PID: 1, Exe: "/bin/job", Argv: []string{"job", strings.Repeat("x", 200)}},
	}})
	b, err := cut.lines(operator.NodeID{Name: "web", Key: "UA"}, long, false)
	if line := strings.TrimSuffix(string(b), "\n"); err != nil || len([]rune(line)) != 40 {
		t.Errorf("a line for 40 columns is %q, %v", line, err)
	}
}
