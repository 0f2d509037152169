package otlp

import (
	"context"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/taskwatch/taskwatch"
)

// Live is a sink that sends the spans of each process as soon as it has ended,
// without an end of its own. A process that was there before has none; of its
// children each is the root of a trace, and what descends from it is in that
// trace, up to [Config.MaxSpans] processes: those after that are roots with a
// link to the process that made them.
//
// It belongs behind a [taskwatch.Queue].
type Live struct {
	*outbox[*tracepb.Span]
	spans *Sink
}

// NewLive returns a sink that sends spans. Of failures in a row report gets the
// first, and nil when sending goes on; it may be nil.
func NewLive(cfg *Config, to Sender, report func(error)) *Live {
	l := &Live{spans: New(cfg, to)}
	l.outbox = newOutbox(to, cfg.spanData, report)
	l.spans.ready = l.add
	return l
}

// Wants returns what the sink reads.
func (l *Live) Wants() taskwatch.Wants { return l.spans.Wants() }

// WantsFailedExecs says that failed execs become events of spans.
func (l *Live) WantsFailedExecs() bool { return true }

// Take takes an item.
func (l *Live) Take(it taskwatch.Item) { l.spans.Take(it) }

// Close sends the spans of the processes that live, too, with the attribute
// taskwatch.running, until ctx ends.
func (l *Live) Close(ctx context.Context) error {
	for p, sp := range l.spans.live {
		sp.process.Attributes = append(sp.process.Attributes, flag("taskwatch.running", true))
		l.spans.end(p, l.spans.last)
	}
	return l.close(ctx)
}

// join gives a process a span in the trace of its parent, or in a new one.
func (s *Sink) join(sp *spans, name string) {
	if p := sp.parent; p != nil && p.trace.spans < s.cfg.MaxSpans {
		sp.trace = p.trace
		sp.trace.spans++
		sp.process = newSpan(name, sp.trace.id, p.process.SpanId)
		return
	}
	sp.trace = &trace{random(16), 1}
	sp.process = newSpan(name, sp.trace.id, nil)
	if p := sp.parent; p != nil {
		sp.process.Links = []*tracepb.Span_Link{{TraceId: p.process.TraceId, SpanId: p.process.SpanId}}
	}
}
