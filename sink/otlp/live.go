package otlp

import (
	"bytes"
	"context"
	"encoding/hex"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/taskwatch/taskwatch"
)

// Live is a sink that sends the spans of each process as soon as the process has
// ended, for as long as it runs. A process that existed before gets no span.
// Each of its children is the root of a trace, which holds the child's
// descendants, up to [Config.MaxSpans] processes. Later ones are roots with a
// link to their creator.
//
// A process with a label that is an id is in the trace of that id, whatever the
// trace of its creator is.
//
// It belongs behind a [taskwatch.Queue].
type Live struct {
	*outbox[*tracepb.Span]
	spans *Sink
}

// NewLive returns a sink that sends spans. report is called with the first of
// several failures in a row, and with nil when sending works again; it may be
// nil.
func NewLive(cfg *Config, to Sender, report func(error)) *Live {
	l := &Live{spans: New(cfg, to)}
	l.outbox = newOutbox(to, cfg.spanData, report)
	l.spans.ready = l.add
	return l
}

// Wants returns what the sink reads.
func (l *Live) Wants() taskwatch.Wants {
	w := l.spans.Wants()
	w[taskwatch.Clone] |= taskwatch.FieldLabel
	w[taskwatch.Exec] |= taskwatch.FieldLabel
	return w
}

// WantsFailedExecs returns true: failed execs become events of spans.
func (l *Live) WantsFailedExecs() bool { return true }

// Take takes an item.
func (l *Live) Take(it taskwatch.Item) { l.spans.Take(it) }

// Close also sends the spans of the live processes, with the attribute
// taskwatch.running. It stops when ctx ends.
func (l *Live) Close(ctx context.Context) error {
	l.spans.endAll()
	return l.close(ctx)
}

// join gives a process a span in the trace of its label, of its parent, or in a
// new one.
func (s *Sink) join(sp *spans, name string, label []byte) {
	p := sp.parent
	if p != nil && p.trace.spans < s.cfg.MaxSpans && (label == nil || bytes.Equal(label, p.trace.id)) {
		sp.trace = p.trace
		sp.trace.spans++
		sp.process = newSpan(name, sp.trace.id, p.process.SpanId)
		return
	}
	if label == nil {
		label = random(16)
	}
	sp.trace = &trace{label, 1}
	sp.process = newSpan(name, sp.trace.id, nil)
	sp.link()
}

// link makes a root that is not the first of all say where it comes from.
func (p *spans) link() {
	if by := p.parent; by != nil {
		p.process.Links = []*tracepb.Span_Link{{TraceId: by.process.TraceId, SpanId: by.process.SpanId}}
	}
}

// relabel moves a process to the trace of its label, which its first program has
// got for it: a label that comes later is too late, because spans have been sent.
func (s *Sink) relabel(sp *spans, label []byte) {
	if sp.ran || label == nil || bytes.Equal(label, sp.trace.id) {
		return
	}
	sp.trace.spans--
	sp.trace = &trace{label, 1}
	sp.process.TraceId, sp.process.ParentSpanId = label, nil
	sp.link()
}

// labelOf returns the label of the event's process if it is an id, else nil.
func labelOf(ev *taskwatch.Event) []byte {
	if ev.Extra == nil || len(ev.Extra.Label) != 32 {
		return nil // a text is shorter
	}
	id, err := hex.DecodeString(ev.Extra.Label)
	if err != nil {
		return nil
	}
	return id
}
