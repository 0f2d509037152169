package otlp

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch"
)

// LogSink is a sink that sends a log record for each item. The record of an
// event has all its fields, named by the semantic conventions if they have a
// name, or else with the prefix "taskwatch.". The severity is INFO for events
// and for failed execs, whose path and arguments are those of the attempt, and
// WARN for losses and failures of watchers.
//
// It belongs behind a [taskwatch.Queue].
type LogSink struct {
	*outbox[*logspb.LogRecord]
	kinds taskwatch.Kinds
}

// NewLogs returns a sink that sends log records of events of those kinds, and of
// all other items. report is called with the first of several failures in a row,
// and with nil when sending works again; it may be nil.
func NewLogs(cfg *Config, kinds taskwatch.Kinds, to Sender, report func(error)) *LogSink {
	return &LogSink{outbox: newOutbox(to, cfg.logData, report), kinds: kinds}
}

func (c *Config) logData(list []*logspb.LogRecord) proto.Message {
	return &logspb.LogsData{ResourceLogs: []*logspb.ResourceLogs{{
		Resource: c.resource(), SchemaUrl: schemaURL,
		ScopeLogs: []*logspb.ScopeLogs{{Scope: scope(), SchemaUrl: schemaURL, LogRecords: list}},
	}}}
}

// Wants returns all fields of the events.
func (l *LogSink) Wants() taskwatch.Wants { return taskwatch.WantAll(l.kinds) }

// Take takes an item.
func (l *LogSink) Take(it taskwatch.Item) { l.TakeMarked(it, false) }

// TakeMarked is Take for an item that may be marked as unsure: its record then
// has the attribute taskwatch.unsure.
func (l *LogSink) TakeMarked(it taskwatch.Item, unsure bool) {
	if r := markedRecord(it, unsure); r != nil {
		l.add(r)
	}
}

// Close sends everything that waits. It stops when ctx ends.
func (l *LogSink) Close(ctx context.Context) error { return l.close(ctx) }

// markedRecord returns the record of an item, or nil if it has none.
func markedRecord(it taskwatch.Item, unsure bool) *logspb.LogRecord {
	r := logRecord(it)
	if r != nil && unsure {
		r.Attributes = append(r.Attributes, flag("taskwatch.unsure", true))
	}
	return r
}

func logRecord(it taskwatch.Item) *logspb.LogRecord {
	r := &logspb.LogRecord{SeverityNumber: logspb.SeverityNumber_SEVERITY_NUMBER_INFO, SeverityText: "INFO"}
	say := func(name, format string, args ...any) {
		r.EventName = "taskwatch." + name
		r.Body = stringValue(fmt.Sprintf(format, args...))
	}
	switch {
	case it.Event != nil:
		ev := it.Event
		r.TimeUnixNano = uint64(ev.Time.UnixNano())
		say(ev.Kind.String(), "%s %s", ev.Kind, taskName(ev.Task))
		r.Attributes = attributesOf(ev, ev.Fields())
	case it.Loss != nil:
		warn(r)
		say("lost", "%d events were lost", it.Loss.Count)
		r.Attributes = []*commonpb.KeyValue{num("taskwatch.count", int64(it.Loss.Count))}
	case it.Failure != nil:
		f := it.Failure
		warn(r)
		r.TimeUnixNano = uint64(f.Event.Time.UnixNano())
		say("failure", "%s", f.Error())
		r.Attributes = append(attributesOf(f.Event, f.Event.Fields()&taskwatch.FieldsTask),
			str("taskwatch.module", f.Module), str("taskwatch.watcher", f.Watcher), str("taskwatch.event", f.Kind.String()),
			str("taskwatch.verdict", f.Verdict.String()), str("exception.message", f.Err.Error()))
	case it.Record != nil:
		rec := it.Record
		r.TimeUnixNano = uint64(rec.Time.UnixNano())
		say("record", "%s", rec.Data)
		r.Attributes = append([]*commonpb.KeyValue(nil), str("taskwatch.module", rec.Module))
		if t := rec.Task; t != nil && !rec.Missing.Has(taskwatch.FieldPID) {
			r.Attributes = append(r.Attributes, num("process.pid", int64(t.PID)))
		}
	case it.Failed != nil:
		f := it.Failed
		r.TimeUnixNano = uint64(f.Time.UnixNano())
		what := taskwatch.FieldsTask &^ (taskwatch.FieldExe | taskwatch.FieldArgv) // those are of what was tried
		ev := taskwatch.Event{Kind: taskwatch.Exec, Task: f.Task, Missing: f.Missing & what}
		say("exec_failed", "exec %s failed: %s", strconv.Quote(f.Path), errnoName(f.Errno))
		r.Attributes = append(attributesOf(&ev, what), attemptOf(f)...)
	default:
		return nil // a start, which is of a recording
	}
	r.ObservedTimeUnixNano = r.TimeUnixNano
	return r
}

func warn(r *logspb.LogRecord) {
	r.SeverityNumber, r.SeverityText = logspb.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
}

func taskName(t *taskwatch.Task) string {
	switch {
	case t == nil:
		return ""
	case t.Exe != "":
		return t.Exe
	}
	return t.Comm
}

// conventional maps fields to names of the semantic conventions.
var conventional = map[taskwatch.Fields]string{
	taskwatch.FieldPID: "process.pid", taskwatch.FieldPPID: "process.parent_pid", taskwatch.FieldTID: "thread.id",
	taskwatch.FieldComm: "thread.name", taskwatch.FieldExe: "process.executable.path", taskwatch.FieldArgv: "process.command_args",
	taskwatch.FieldCwd: "process.working_directory", taskwatch.FieldCgroup: "process.linux.cgroup", taskwatch.FieldExitCode: "process.exit.code",
}

// attributesOf returns fields of an event, and which are missing.
func attributesOf(ev *taskwatch.Event, fields taskwatch.Fields) (list []*commonpb.KeyValue) {
	for _, f := range fields.List() {
		v, ok := ev.Value(f)
		if !ok {
			continue
		}
		name := conventional[f]
		if name == "" {
			name = "taskwatch." + f.Info().Name
		}
		list = append(list, attribute(name, v))
		switch {
		case f == taskwatch.FieldExe:
			list = append(list, str("process.executable.name", filepath.Base(v.Text())))
		case f == taskwatch.FieldUID && len(v.Uints()) > 2:
			ids := v.Uints()
			list = append(list, num("process.real_user.id", int64(ids[0])), num("process.user.id", int64(ids[1])), num("process.saved_user.id", int64(ids[2])))
		case f == taskwatch.FieldArgv && ev.Task.ArgvCut:
			list = append(list, flag("taskwatch.argv_cut", true))
		}
	}
	if missing := (taskwatch.FieldsOf(ev.Kind) & ev.Missing).Names(); len(missing) > 0 {
		list = append(list, str("taskwatch.missing", strings.Join(missing, ",")))
	}
	return list
}

func attribute(name string, v taskwatch.Value) *commonpb.KeyValue {
	switch v.Type() {
	case taskwatch.TypeInt:
		return num(name, v.Int())
	case taskwatch.TypeUint:
		return num(name, int64(v.Uint()))
	case taskwatch.TypeBool:
		return flag(name, v.Bool())
	case taskwatch.TypeStrings:
		return listOf(name, v.Strings(), stringValue)
	case taskwatch.TypeUints:
		return listOf(name, v.Uints(), func(n uint32) *commonpb.AnyValue {
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(n)}}
		})
	}
	return str(name, v.String())
}
