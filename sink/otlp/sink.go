package otlp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// Sender sends spans or log records, *tracepb.TracesData or *logspb.LogsData.
// rejected is how many of them the receiver rejected.
type Sender interface {
	Send(ctx context.Context, data proto.Message) (rejected int64, err error)
}

// Sink is a sink that sends spans when it is closed.
type Sink struct {
	cfg  Config
	to   Sender
	axis process.Axis
	tree process.Tree
	root *tracepb.Span
	live map[*process.Process]*spans
	all  []*spans
	gone int // spans that were left out

	pruneAt int

	ready func(*tracepb.Span) // of [Live]: gets each span as soon as it has ended

	begun   bool
	offset  int64 // of the wall clock from CLOCK_MONOTONIC
	last    int64 // CLOCK_MONOTONIC
	command []string
	lost    uint64
	notes   []string
}

// New returns a sink with this configuration.
func New(cfg *Config, to Sender) *Sink {
	s := &Sink{cfg: *cfg, to: to, live: map[*process.Process]*spans{}}
	if s.cfg.MaxSpans == 0 {
		s.cfg.MaxSpans = DefaultMaxSpans
	}
	if s.cfg.TraceID == [16]byte{} {
		_, _ = rand.Read(s.cfg.TraceID[:])
	}
	s.root = newSpan("taskwatch", s.cfg.TraceID[:], s.cfg.Parent[:])
	if s.cfg.Parent == [8]byte{} {
		s.root.ParentSpanId = nil
	}
	return s
}

// Traceparent returns the TRACEPARENT of the root span.
func (s *Sink) Traceparent() string {
	flags := "01"
	if s.cfg.NotSampled {
		flags = "00"
	}
	return "00-" + hex.EncodeToString(s.cfg.TraceID[:]) + "-" + hex.EncodeToString(s.root.SpanId) + "-" + flags
}

// Wants returns what the sink reads.
func (s *Sink) Wants() taskwatch.Wants {
	const task = process.Fields
	return taskwatch.Wants{
		taskwatch.Clone: task | taskwatch.FieldCwd,
		taskwatch.Exec:  task | taskwatch.FieldCwd | taskwatch.FieldUID | process.UsageBefore,
		taskwatch.UID:   task | taskwatch.FieldUID | taskwatch.FieldOld | taskwatch.FieldCause,
		taskwatch.GID:   task | taskwatch.FieldGID | taskwatch.FieldOld | taskwatch.FieldCause,
		taskwatch.Exit:  task | taskwatch.FieldsExit | taskwatch.FieldsRusage,
	}
}

// wall returns a time of the wall clock.
func (s *Sink) wall(mono int64) uint64 { return uint64(mono + s.offset) }

// Take takes an item.
func (s *Sink) Take(it taskwatch.Item) {
	it = s.axis.Take(it)
	switch {
	case it.Start != nil: // of another run: its processes are others
		s.endAll()
		s.tree.Take(it)
	case it.Event != nil:
		if k := it.Event.Kind; k != taskwatch.Init && k != taskwatch.Free {
			s.event(it)
		}
	case it.Loss != nil:
		s.lost += max(it.Loss.Count, 1)
	case it.Failure != nil:
		f := it.Failure
		s.add(s.spanOf(f.Event.Task), f.Event.MonoNS, "taskwatch.failure",
			str("taskwatch.module", f.Module), str("taskwatch.watcher", f.Watcher), str("taskwatch.event", f.Kind.String()),
			str("taskwatch.verdict", f.Verdict.String()), str("exception.message", f.Err.Error()))
	case it.Record != nil:
		s.add(s.spanOf(it.Record.Task), it.Record.MonoNS, "taskwatch.record",
			str("taskwatch.module", it.Record.Module), str("taskwatch.data", string(it.Record.Data)))
	case it.Failed != nil:
		s.add(s.spanOf(it.Failed.Task), it.Failed.MonoNS, "taskwatch.exec_failed", attemptOf(it.Failed)...)
	}
}

// WantsFailedExecs returns true: failed execs become events of spans.
func (s *Sink) WantsFailedExecs() bool { return true }

// Notes says, after Close, what was left out, one line each.
func (s *Sink) Notes() []string { return s.notes }

// Close sends the spans.
func (s *Sink) Close(ctx context.Context) error {
	s.endAll()
	n := 0
	for _, p := range s.all {
		n += p.count()
	}
	if n+1 > s.cfg.MaxSpans {
		s.prune()
	}
	if s.gone > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%d spans were left out, of %d at most: those that failed are there, then the longest, and their ancestors", s.gone, s.cfg.MaxSpans))
		s.root.Attributes = append(s.root.Attributes, num("taskwatch.spans_left_out", int64(s.gone)))
	}
	if s.lost > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%d items or more were lost before they came here", s.lost))
		s.root.Attributes = append(s.root.Attributes, num("taskwatch.items_lost", int64(s.lost)))
	}
	if !s.begun || s.cfg.NotSampled {
		return nil
	}
	s.root.EndTimeUnixNano = s.wall(s.last)
	if len(s.command) > 0 {
		s.root.Name = valid("taskwatch " + filepath.Base(s.command[0]))
		s.root.Attributes = append(s.root.Attributes, list("process.command_args", s.command))
	}
	return s.send(ctx)
}

func (s *Sink) send(ctx context.Context) error {
	batch := batch[*tracepb.Span]{to: s.to, data: s.cfg.spanData}
	err := batch.add(ctx, s.root)
	for _, p := range s.all {
		if err == nil {
			err = batch.add(ctx, append([]*tracepb.Span{p.process}, p.programs...)...)
		}
	}
	if err == nil {
		err = batch.flush(ctx)
	}
	if batch.rejected > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%d spans were rejected by the collector", batch.rejected))
	}
	return err
}
