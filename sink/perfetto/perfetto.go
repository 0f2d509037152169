// Package perfetto writes traces in Perfetto's own format, for ui.perfetto.dev
// and trace_processor. Packets are written immediately, so a trace of any length
// needs little memory, and an incomplete file is valid up to its end.
package perfetto

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/sink/lane"
)

// Sink is a sink that writes a trace.
type Sink struct {
	*lane.Sink
	out *writer
}

// New returns a sink that writes to w.
func New(w io.Writer) *Sink {
	out := &writer{
		w:     bufio.NewWriterSize(w, 64<<10),
		field: (&Trace{}).ProtoReflect().Descriptor().Fields().ByName("packet").Number(),
	}
	return &Sink{lane.NewSink(out), out}
}

// Take takes an item.
func (s *Sink) Take(it taskwatch.Item) {
	if ev := it.Event; ev != nil && !s.out.clocks && !ev.Time.IsZero() {
		s.out.snapshot(ev.MonoNS, ev.Time)
	}
	s.Sink.Take(it)
}

// Close ends the open slices and writes the rest.
func (s *Sink) Close(ctx context.Context) error { return s.Sink.Close(ctx) }

// The tracks that are not lanes. The number of a lane's track is the lane's
// number plus firstLane.
const (
	rootTrack = 1 + iota
	liveTrack
	firstLane
)

const (
	sequence       = 1 // all packets are of one
	stateIsCleared = 1 // SEQ_INCREMENTAL_STATE_CLEARED
)

type writer struct {
	w      *bufio.Writer
	field  protowire.Number // of a packet in a trace
	buf    []byte
	any    bool
	clocks bool
	err    error // of a snapshot
}

func (w *writer) write(p *TracePacket) error {
	if w.err != nil {
		return w.err
	}
	p.TrustedPacketSequenceId = proto.Uint32(sequence)
	if !w.any {
		w.any = true
		p.SequenceFlags = proto.Uint32(stateIsCleared)
	}
	var err error
	if w.buf, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(w.buf[:0], p); err != nil {
		return err
	}
	var head [16]byte
	b := protowire.AppendTag(head[:0], w.field, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(w.buf)))
	if _, err := w.w.Write(b); err != nil {
		return err
	}
	_, err = w.w.Write(w.buf)
	return err
}

// snapshot writes how the two clocks relate.
func (w *writer) snapshot(mono int64, wall time.Time) {
	w.clocks = true
	w.err = w.write(&TracePacket{ClockSnapshot: &ClockSnapshot{
		PrimaryTraceClock: BuiltinClock_BUILTIN_CLOCK_MONOTONIC.Enum(),
		Clocks: []*ClockSnapshot_Clock{
			{ClockId: proto.Uint32(uint32(BuiltinClock_BUILTIN_CLOCK_MONOTONIC)), Timestamp: proto.Uint64(uint64(mono))},
			{ClockId: proto.Uint32(uint32(BuiltinClock_BUILTIN_CLOCK_REALTIME)), Timestamp: proto.Uint64(uint64(wall.UnixNano()))},
		},
	}})
}

func (w *writer) event(ns int64, e *TrackEvent) error {
	return w.write(&TracePacket{
		Timestamp:        proto.Uint64(uint64(ns)),
		TimestampClockId: proto.Uint32(uint32(BuiltinClock_BUILTIN_CLOCK_MONOTONIC)),
		TrackEvent:       e,
	})
}

func track(l *lane.Lane) *uint64 {
	if l == nil {
		return proto.Uint64(rootTrack)
	}
	return proto.Uint64(firstLane + l.ID)
}

func (w *writer) Lane(l *lane.Lane) error {
	if l.ID == 1 {
		err := w.write(&TracePacket{TrackDescriptor: &TrackDescriptor{
			Uuid: proto.Uint64(rootTrack), Name: proto.String("processes"),
			ChildOrdering: TrackDescriptor_EXPLICIT.Enum(),
		}})
		if err != nil {
			return err
		}
		err = w.write(&TracePacket{TrackDescriptor: &TrackDescriptor{
			Uuid: proto.Uint64(liveTrack), Name: proto.String("live tasks"),
			Counter: &CounterDescriptor{Unit: CounterDescriptor_UNIT_COUNT.Enum()},
		}})
		if err != nil {
			return err
		}
	}
	return w.write(&TracePacket{TrackDescriptor: &TrackDescriptor{
		Uuid: track(l), ParentUuid: track(l.Parent), Name: proto.String(l.Name()),
		ChildOrdering: TrackDescriptor_EXPLICIT.Enum(), SiblingOrderRank: proto.Int32(int32(l.ID)),
	}})
}

func (w *writer) Begin(l *lane.Lane, ns int64, s lane.Slice) error {
	e := &TrackEvent{
		Type: TrackEvent_TYPE_SLICE_BEGIN.Enum(), TrackUuid: track(l), Name: text(s.Name), Categories: []string{s.Category},
		DebugAnnotations: annotations(s.Args),
	}
	if s.Flow != 0 {
		e.TerminatingFlowIds = []uint64{s.Flow}
	}
	return w.event(ns, e)
}

func (w *writer) End(l *lane.Lane, ns int64, args []lane.Arg) error {
	return w.event(ns, &TrackEvent{Type: TrackEvent_TYPE_SLICE_END.Enum(), TrackUuid: track(l), DebugAnnotations: annotations(args)})
}

func (w *writer) Instant(l *lane.Lane, ns int64, i lane.Instant) error {
	return w.event(ns, &TrackEvent{
		Type: TrackEvent_TYPE_INSTANT.Enum(), TrackUuid: track(l), Name: text(i.Name), Categories: []string{i.Category},
		DebugAnnotations: annotations(i.Args),
	})
}

// Flow attaches the flow to a separate instant, because the slice began long
// before.
func (w *writer) Flow(l *lane.Lane, ns int64, flow uint64) error {
	return w.event(ns, &TrackEvent{
		Type: TrackEvent_TYPE_INSTANT.Enum(), TrackUuid: track(l), Name: proto.String("fork"), Categories: []string{"fork"},
		FlowIds: []uint64{flow},
	})
}

func (w *writer) Live(ns int64, tasks int) error {
	return w.event(ns, &TrackEvent{
		Type: TrackEvent_TYPE_COUNTER.Enum(), TrackUuid: proto.Uint64(liveTrack), CounterValue: proto.Int64(int64(tasks)),
	})
}

func (w *writer) Close(int64) error {
	if w.err != nil {
		return w.err
	}
	return w.w.Flush()
}

// text returns a string that is valid in the format.
func text(s string) *string {
	s = strings.ToValidUTF8(s, "\ufffd")
	return &s
}

func annotations(args []lane.Arg) []*DebugAnnotation {
	var list []*DebugAnnotation
	for _, a := range args {
		d := annotation(a.Value)
		d.Name = proto.String(a.Name)
		list = append(list, d)
	}
	return list
}

func annotation(value any) *DebugAnnotation {
	switch v := value.(type) {
	case string:
		return &DebugAnnotation{StringValue: text(v)}
	case int64:
		return &DebugAnnotation{IntValue: &v}
	case uint64:
		return &DebugAnnotation{UintValue: &v}
	case bool:
		return &DebugAnnotation{BoolValue: &v}
	case []string:
		d := &DebugAnnotation{}
		for _, s := range v {
			d.ArrayValues = append(d.ArrayValues, annotation(s))
		}
		return d
	}
	return &DebugAnnotation{StringValue: text(fmt.Sprint(value))}
}
