package main

import (
	"context"
	"io"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/filter"
)

// What an output wants of a filter's tasks is what the filter chooses, unless it
// has to know of others.
func TestTasksThatOutputsWant(t *testing.T) {
	some := taskwatch.Only{UIDs: []uint32{7}, Comms: []string{"a"}}
	for _, c := range []struct {
		name    string
		where   string
		envDiff bool
		want    taskwatch.Only
	}{
		{"x.txt", "uid == 7 && comm == 'a'", false, some},
		{"x.txt", "uid == 7 && comm == 'a'", true, taskwatch.Only{}}, // the parents' environments
		{"x.txt", "uid == 7 && parent.exe == '/a'", false, taskwatch.Only{}},
		{"x.jsonl", "uid == 7 && comm == 'a'", false, some},
		{"x.csv", "uid == 7 && comm == 'a' && exit.code != 0", false, some},
		{"x.sh", "uid == 7 && comm == 'a'", false, some},
		{"x.sh", "uid == 7 && comm == 'a'", true, taskwatch.Only{}},
		{"x.sql", "uid == 7 && comm == 'a'", false, some},
		{"x.acct", "uid == 7 && comm == 'a'", false, taskwatch.Only{}}, // the births of processes
		{"x.folded", "uid == 7 && comm == 'a'", false, taskwatch.Only{}},
	} {
		f, err := filter.Parse(c.where, filter.Options{})
		if err != nil {
			t.Fatal(err)
		}
		format := formatOfFile(c.name)
		kinds := f.Kinds() &^ taskwatch.KindsOf(taskwatch.Free)
		sink, err := format.open(io.Discard, formatOptions{kinds: kinds, envDiff: c.envDiff})
		if err != nil {
			t.Fatal(err)
		}
		choose := choice{where: &whereFlags{expr: c.where, filter: f}, kinds: kinds, pass: passer(sink), all: needsAll(sink), none: format.usual == 0}
		if sink, err = choose.behind(sink); err != nil {
			t.Fatal(err)
		}
		queue := taskwatch.NewQueue(sink, taskwatch.QueueOptions{})
		defer queue.Close(context.Background())
		if sink, err = choose.before(queue); err != nil {
			t.Fatal(err)
		}
		if got := taskwatch.OnlyOf(sink); !got.Equal(c.want) {
			t.Errorf("%s of %s, with what differs in the environment: %v: it wants %+v, want %+v", c.name, c.where, c.envDiff, got, c.want)
		}
	}
}
