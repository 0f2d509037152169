package taskwatch

import (
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
)

// Feed is a registry as sources and the hosts of modules see it: it says which
// events are wanted, and takes the events that happen. Each goroutine that
// delivers events should have its own feed, to be fast; all methods may be
// called from any goroutine. It is made by [Registry.Feed].
type Feed struct {
	// Deny holds the kinds of event whose operation the source makes fail by
	// a watcher's error. With DryRun it does not do so, and would. Both are
	// set before the first event.
	Deny   Kinds
	DryRun bool

	reg    *Registry
	stripe uint32 // of the grace period

	followed // the tasks of the source
}

// Feed returns a new feed of the registry.
func (r *Registry) Feed() *Feed { return &Feed{reg: r, stripe: r.grace.stripe()} }

// Notify calls the watchers of ev.Kind: built-ins first, then the modules in
// the order in which they registered. All are called. The result is the first
// error that denies, or else the first error, as a *[Failure], or nil: see
// [Denial]. Then the sinks get the event, and after it the failures.
//
// Notify may be called before anything is registered and while modules come
// and go. It allocates nothing unless a watcher fails, and takes no lock after
// the first event of the registry unless a sink wants the event.
//
// A watcher that panics keeps no other from being called. After the free
// event of a task, its [Storage] values are gone.
func (f *Feed) Notify(ev *Event) error { return f.deliver(ev, always) }

// NotifyBefore calls only the watchers that may deny, for a source that can
// deny what has not happened yet. If it happens, NotifyAfter must follow
// with the same facts; if it does not, nothing follows. Sinks get the failures
// now if they deny, else behind the event.
func (f *Feed) NotifyBefore(ev *Event) error { return f.deliver(ev, before) }

// NotifyAfter calls the watchers that observe, and passes the event to the
// sinks: the second half of NotifyBefore.
func (f *Feed) NotifyAfter(ev *Event) error { return f.deliver(ev, after) }

// Deliver passes an item that is not an event to the sinks: a loss of the
// source, or an item from elsewhere, such as the failure of a watcher that was
// called later. The item takes the next place. A loss without a sequence number
// gets the next one.
func (f *Feed) Deliver(it Item) {
	r := f.reg
	if s := r.snap.Load(); it.Event != nil || s != nil && !s.attached {
		return
	}
	r.out.Lock()
	defer r.out.Unlock()
	if it.Loss != nil && it.Loss.Seq == 0 {
		it.Loss = &Loss{Count: it.Loss.Count, Seq: r.last + 1}
	}
	r.hand(it)
}

// Enabled reports whether a watcher or a sink wants k. A source asks it before
// it gathers the facts of an event.
func (f *Feed) Enabled(k Kind) bool { return f.Kinds().Has(k) }

// Kinds returns the kinds that a watcher or a sink wants.
func (f *Feed) Kinds() Kinds { return f.reg.kinds(always) }

// DenyKinds returns the kinds that have a watcher whose error would deny.
func (f *Feed) DenyKinds() Kinds {
	return f.reg.kinds(before) & vetoable
}

// Fields returns the fields that a watcher or a sink may read.
func (f *Feed) Fields() Fields { return f.reg.fields() }

// Optional returns the optional fields of a kind that a watcher or a sink may
// read: the only ones to be gathered, and, where that fails, missing. See
// [Event.Give].
func (f *Feed) Optional(k Kind) Fields {
	return f.Reads(k) & OptionalFields
}

// Reads returns the fields of events of a kind that a watcher or a sink may read.
func (f *Feed) Reads(k Kind) Fields {
	if k >= NumKinds {
		return 0
	}
	if s := f.reg.snap.Load(); s != nil {
		return s.reads[k]
	}
	return f.reg.now().reads[k]
}

// FailedExecs reports whether a sink wants execs that failed, which a source then
// gives to [Feed.Deliver].
func (f *Feed) FailedExecs() bool { return f.reg.now().failed }

func (f *Feed) deliver(ev *Event, m moment) error {
	s := f.reg.snap.Load()
	if s == nil {
		s = f.reg.start()
	}
	if ev.Kind >= Free {
		return f.deliverFree(ev, m, s)
	}
	if s.kinds[m]&(1<<ev.Kind) == 0 && !s.holds(ev) {
		return nil
	}
	return f.notify(ev, m)
}

// deliverFree drops the storage of the task, watched or not.
func (f *Feed) deliverFree(ev *Event, m moment, s *snapshot) error {
	if ev.Kind >= NumKinds {
		return fmt.Errorf("taskwatch: notify of unknown event %v", ev.Kind)
	}
	if ev.Kind == Free && m != before && ev.Task != nil {
		defer ev.Task.storage.free() // deferred for watchers that end the goroutine
	}
	if s.kinds[m]&(1<<ev.Kind) == 0 && !s.holds(ev) {
		return nil
	}
	return f.notify(ev, m)
}

// holds reports whether something waits for this event to come, or to be past.
func (s *snapshot) holds(ev *Event) bool {
	return s.attached && ev.Task != nil && ev.Task.held != nil
}

// notify is the read side. Its name is known to insideWatcher.
func (f *Feed) notify(ev *Event, m moment) error {
	if m != before {
		f.reg.delivered[ev.Kind].Add(1)
	}
	d := delivery{feed: f, ev: ev}
	d.reading = f.reg.grace.enter(f.stripe)
	d.snap = f.reg.snap.Load() // after entering: see grace.wait
	d.list = d.snap.lists[m][ev.Kind]
	if d.snap.follow != nil && ev.Task != nil {
		d.introduce(m)
	}
	d.callAll()
	if d.snap.attached {
		d.report(m)
	}
	if ev.sent != nil {
		ev.sent = nil
	}
	return d.result()
}

// delivery is one event on its way through a list of watchers.
type delivery struct {
	feed     *Feed
	ev       *Event
	reading  *atomic.Int64 // ends the read side
	snap     *snapshot
	list     []listed
	skip     []*registration // whose watchers are not called
	next     int             // the first one not called yet
	first    *Failure        // what the caller gets
	failures []Item
	ahead    []Item // of attach, for the place before the event
	asked    bool   // a watcher has asked for a denial
}

// callAll calls the watchers and ends the read side.
func (d *delivery) callAll() {
	for !d.callSome() {
	}
}

// callSome calls the rest of the watchers up to one that panics, and reports
// whether all were called.
func (d *delivery) callSome() (all bool) {
	defer d.recover(&all)
	ev, list := d.ev, d.list
	for i := d.next; i < len(list); i++ {
		d.next = i + 1
		if d.skip != nil && slices.Contains(d.skip, list[i].reg) {
			continue
		}
		if err := list[i].fn(ev); err != nil {
			d.fail(&Failure{Err: err})
		}
	}
	d.reading.Add(-1)
	return true
}

func (d *delivery) recover(all *bool) {
	if *all {
		return
	}
	if p := recover(); p != nil {
		d.fail(&Failure{Err: fmt.Errorf("panic: %v", p), Crash: true, Panic: p, Stack: debug.Stack()})
		return
	}
	d.reading.Add(-1) // a watcher has ended the goroutine
}

// fail completes and counts the error of the last watcher called.
func (d *delivery) fail(f *Failure) {
	e := &d.list[d.next-1]
	if foreign := foreignFailure(f.Err); foreign != nil {
		f.Watcher, f.Err, f.Crash = foreign.Watcher, foreign.Err, foreign.Crash
	}
	f.Module, f.Kind, f.Event = e.reg.name(), d.ev.Kind, d.ev
	if f.Watcher == "" {
		f.Watcher = watcherName(e.fn)
	}
	asks := false
	if f.Crash {
		e.reg.crashes.Add(1)
	} else {
		e.reg.errors.Add(1)
		asks = !d.asked && !e.observes && !d.ev.Final && f.Kind.Vetoable()
	}
	if asks && d.feed.Deny.Has(f.Kind) {
		switch {
		case d.feed.DryRun:
			f.Verdict = WouldDeny
		case d.ev.Late:
			f.Verdict = Killed
		default:
			f.Verdict = Denied
		}
	}
	if d.first == nil || asks {
		d.first = f
	}
	d.asked = d.asked || asks
	if d.snap.attached {
		d.failures = append(d.failures, Item{Failure: f})
	}
}

// report gives the sinks what the delivery has come to.
func (d *delivery) report(m moment) {
	ev, task, reg := d.ev, d.ev.Task, d.feed.reg
	behind := append(ev.sent, d.failures...)
	ev.sent = nil
	var held []Item
	if task != nil && task.held != nil {
		held, task.held = task.held, nil
		if m == after && task.heldKind == ev.Kind {
			held, behind = nil, append(held, behind...)
		}
	}
	held = append(held, d.ahead...)
	switch {
	case m == before && Denial(d.result()) == 0:
		// The event comes, or, if the operation fails by itself, another one
		// of the task.
		if held != nil {
			reg.handAll(held, nil, nil)
		}
		for _, it := range behind {
			task.held, task.heldKind = append(task.held, it.Clone()), ev.Kind
		}
		return
	case m == before || !d.snap.sinks.Has(ev.Kind):
		ev = nil
	}
	if ev != nil || held != nil || behind != nil {
		reg.handAll(held, ev, behind)
	}
}

// result returns the first error, or nil.
func (d *delivery) result() error {
	if d.first == nil {
		return nil // not a nil *Failure in an error
	}
	return d.first
}
