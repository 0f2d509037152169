package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/outfile"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
)

// journalName is what messages call the log that goes to journald.
const journalName = "journald"

// journalSink sends each item to journald as an entry: the sink behind a log's
// queue, whose goroutine calls all its methods except reopen. A journald that is
// busy makes the queue wait.
type journalSink struct {
	delivery
	choice *stream
	env    report.EnvCut
	line   []byte
	fields map[string]string // of one entry
}

func newJournalSink(c *LogConfig, choice *stream, log *slog.Logger, end func(error)) *journalSink {
	j := &journalSink{choice: choice, fields: map[string]string{}}
	j.init(c, log, end)
	j.env, _ = c.envCut() // which is checked
	return j
}

// Wants returns nothing: the stream wants all that an entry has.
func (j *journalSink) Wants() taskwatch.Wants { return nil }

func (j *journalSink) shows(taskwatch.Item) bool { return false }

func (j *journalSink) begin(*taskwatch.Queue, *outfile.Log) {}

// reopen continues a log that was stopped.
func (j *journalSink) reopen() error {
	j.stopped.Store(false)
	return nil
}

// Take sends an item.
func (j *journalSink) Take(it taskwatch.Item) {
	var err error
	if !j.stopped.Load() && j.lost > 0 {
		n, seq := j.lost, j.lostSeq
		if err = j.send(j.loss()); err != nil {
			j.lost, j.lostSeq = n, seq
		}
	}
	if err == nil && !j.stopped.Load() {
		err = j.send(it)
	}
	if err != nil || j.stopped.Load() {
		n := uint64(1)
		if it.Loss != nil {
			n = it.Loss.Count
		}
		j.lose(n, it.Seq(), it.Loss != nil)
	}
	if !j.stopped.Load() {
		j.result(err)
	}
}

// Close sends what is left to say.
func (j *journalSink) Close(context.Context) error {
	if j.lost > 0 && !j.stopped.Load() {
		return j.send(j.loss())
	}
	return nil
}

// send writes one entry. TASKWATCH_ITEM is the line of a recording, and has
// everything; the other fields are there to select entries by.
func (j *journalSink) send(it taskwatch.Item) error {
	it = j.env.Item(it)
	j.line = record.AppendFields(j.line[:0], it, j.choice.optional)
	if j.choice.where != nil && it.Loss == nil && j.choice.where.marks.Take(it) {
		j.line = record.MarkUnsure(j.line)
	}
	clear(j.fields)
	j.fields["SYSLOG_IDENTIFIER"] = "taskwatch"
	j.fields["TASKWATCH_ITEM"] = string(bytes.TrimSuffix(j.line, []byte("\n")))
	kind, message, priority := describe(it)
	j.fields["TASKWATCH_EVENT"] = kind
	if ev := it.Event; ev != nil {
		for _, f := range (ev.Fields() &^ taskwatch.FieldEnv).List() {
			if v, ok := ev.Value(f); ok {
				j.fields[fieldPrefix+strings.ToUpper(strings.ReplaceAll(f.Info().Name, ".", "_"))] = v.String()
			}
		}
	}
	return journal.Send(message, priority, j.fields)
}

const fieldPrefix = "TASKWATCH_"

// describe returns the name of an item's kind in a recording, a line for people
// and how urgent it is.
func describe(it taskwatch.Item) (kind, message string, priority journal.Priority) {
	name := func(t *taskwatch.Task) string {
		switch {
		case t == nil:
			return "a task"
		case len(t.Argv) > 0:
			return fmt.Sprintf("%d %s", t.TID, clean.Text(strings.Join(t.Argv, " ")))
		}
		return fmt.Sprintf("%d %s", t.TID, clean.Text(t.Comm))
	}
	switch {
	case it.Event != nil:
		return it.Event.Kind.String(), it.Event.Kind.String() + " " + name(it.Event.Task), journal.PriInfo
	case it.Failure != nil:
		return "error", clean.Text(it.Failure.Error()), journal.PriErr
	case it.Record != nil:
		return "record", "a record of module " + it.Record.Module, journal.PriInfo
	case it.Failed != nil:
		return "exec-failed", "exec failed " + clean.Text(it.Failed.Path), journal.PriInfo
	case it.Loss != nil && it.Loss.Count == 0:
		return "lost", "events were lost", journal.PriWarning
	}
	return "lost", fmt.Sprintf("%d events were lost", it.Loss.Count), journal.PriWarning
}
