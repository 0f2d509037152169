package taskwatch

import (
	"context"
	"slices"
)

// Sink is where items go: a recording, a terminal, a client. It comes and goes
// at run time, with [Registry.Attach] and [Registry.Detach].
//
// Put a sink that may be slow behind a [Queue]: until Take returns, no other
// sink gets the item, and the source waits.
type Sink interface {
	// Wants says which events the sink gets and which of their fields it
	// reads. Attach and Rewant call it. Losses, failures and records of
	// modules come without being asked for.
	Wants() Wants

	// Take takes one item, which is borrowed. It is called by one goroutine
	// at a time, in the order of the items. It must not call the registry or
	// its feeds. A panic is the sink's own loss.
	Take(Item)

	// Close ends the sink. Detach calls it once, after the last Take. The sink
	// gives up whatever it has not finished when ctx ends. Close returns the
	// first error in the sink's whole life.
	Close(ctx context.Context) error
}

// Wants holds the kinds of event that are wanted, and which of their fields
// are read: a source need not gather what nobody reads, and then names it in
// [Event.Missing]. The zero value wants no events.
type Wants map[Kind]Fields

// WantAll wants the given kinds with all their fields but the optional ones.
func WantAll(kinds Kinds) Wants {
	w := Wants{}
	for _, k := range kinds.List() {
		w[k] = DefaultFields
	}
	return w
}

// Kinds returns the kinds of event that are wanted.
func (w Wants) Kinds() (kinds Kinds) {
	for k := range w {
		if k < NumKinds {
			kinds |= KindsOf(k)
		}
	}
	return kinds
}

// attachment is a sink's stay in a registry.
type attachment struct {
	sink   Sink
	kinds  Kinds
	fields [NumKinds]Fields
	failed bool // it wants failed execs
	only   Only
}

func newAttachment(s Sink) *attachment {
	a := &attachment{sink: s, failed: WantsFailedExecs(s), only: OnlyOf(s)}
	for k, fields := range s.Wants() {
		if k < NumKinds {
			a.kinds |= KindsOf(k)
			a.fields[k] = fields
		}
	}
	return a
}

// Attach has the sink get what happens from then on. It must not be called
// from inside a watcher or a sink, which is an error.
func (r *Registry) Attach(s Sink) error {
	if insideWatcher() {
		return ErrInWatcher
	}
	a := newAttachment(s)
	r.out.Lock()
	defer r.out.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attached(s) >= 0 {
		return ErrRegistered
	}
	r.sinks = append(r.sinks, a)
	if r.snap.Load() != nil {
		r.publish()
	}
	return nil
}

// Rewant has an attached sink get what it wants now, and no gap between what it
// wanted before and that. It must not be called from inside a watcher or a sink,
// which is an error.
func (r *Registry) Rewant(s Sink) error {
	if insideWatcher() {
		return ErrInWatcher
	}
	a := newAttachment(s)
	r.out.Lock()
	defer r.out.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.attached(s)
	if i < 0 {
		return ErrNotRegistered
	}
	r.sinks[i] = a
	if r.snap.Load() != nil {
		r.publish()
	}
	return nil
}

// attached returns the place of a sink, or -1. Callers hold mu.
func (r *Registry) attached(s Sink) int {
	return slices.IndexFunc(r.sinks, func(a *attachment) bool { return a.sink == s })
}

// Detach removes the sink, waits until it takes no item any more, closes it
// with ctx, and returns the error of that. It must not be called from inside
// a watcher or a sink, which is an error.
func (r *Registry) Detach(ctx context.Context, s Sink) error {
	if insideWatcher() {
		return ErrInWatcher
	}
	if err := r.detach(s); err != nil {
		return err
	}
	return s.Close(ctx)
}

func (r *Registry) detach(s Sink) error {
	r.out.Lock()
	defer r.out.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	i := r.attached(s)
	if i < 0 {
		return ErrNotRegistered
	}
	r.sinks = slices.Delete(r.sinks, i, i+1)
	if r.snap.Load() != nil {
		r.publish()
	}
	return nil
}

// hand gives an item to the sinks that want it. Callers hold out. Its name is
// known to insideWatcher.
func (r *Registry) hand(it Item) {
	var kind Kinds
	if it.Event != nil {
		kind = 1 << it.Event.Kind
		r.last = it.Event.Seq
	}
	for _, a := range r.sinks {
		if kind == 0 && (it.Failed == nil || a.failed) || a.kinds&kind != 0 {
			r.take(a.sink, it)
		}
	}
}

func (r *Registry) take(s Sink, it Item) {
	defer func() {
		if recover() != nil {
			r.sinkPanics.Add(1)
		}
	}()
	s.Take(it)
}

// handAll gives the items of an event to the sinks, in their order: what its
// task still held of an operation before, the event, and what its watchers
// gave cause for. An event that is nil did not happen.
func (r *Registry) handAll(before []Item, ev *Event, after []Item) {
	r.out.Lock()
	defer r.out.Unlock()
	for _, it := range before {
		r.hand(it)
	}
	if ev != nil {
		r.hand(Item{Event: ev})
	}
	for _, it := range after {
		r.hand(it)
	}
}

// Delivered returns how many events of each kind have happened while a watcher
// or a sink wanted them.
func (r *Registry) Delivered() (n [NumKinds]uint64) {
	for k := range n {
		n[k] = r.delivered[k].Load()
	}
	return n
}

// SinkPanics returns how many items were lost by panics of sinks.
func (r *Registry) SinkPanics() uint64 { return r.sinkPanics.Load() }

// NewSink returns a sink that calls a function with every item: see
// [Sink.Take]. Its Close does nothing.
func NewSink(wants Wants, take func(Item)) Sink { return &funcSink{wants, take} }

type funcSink struct {
	wants Wants
	take  func(Item)
}

func (s *funcSink) Wants() Wants                { return s.wants }
func (s *funcSink) Take(it Item)                { s.take(it) }
func (s *funcSink) Close(context.Context) error { return nil }
