package taskwatch

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A module that watches Attach or Detach has a mark on each task that it knows:
// its registration is a key of the task's storage. Whatever comes first sets the
// mark: init, another event, or a visit to all tasks of the source. If it was not
// init, attach is called. The mark goes with free, or with detach.
//
// A visit reads tasks, which the source changes. So the source has a turn, which
// it gives up where it waits.

// followedKinds are the kinds of event that set and remove marks.
const followedKinds Kinds = 1<<Init | 1<<Clone | 1<<Free

// followed are the tasks of a feed's source.
type followed struct {
	turn  sync.Mutex // held by the source while it may change a task, or by a visitor
	tasks func(visit func(*Event))
	late  atomic.Bool // a module came that could not wait for its turn
}

// Follow says that the feed's source follows tasks from one event to the next. It
// calls visit for each task that it knows to exist, with an event that has Task,
// Missing, the times and Source: it may be the same one each time. A task between
// its init and its clone is one of them, whose TID is missing. From then on the
// source has its turn, until [Feed.End]. It must give it up with [Feed.Pause]
// wherever it waits, or calls what may register modules.
func (f *Feed) Follow(tasks func(visit func(*Event))) {
	f.turn.Lock()
	f.tasks = tasks
	f.reg.mu.Lock()
	f.reg.feeds = append(f.reg.feeds, f)
	f.reg.mu.Unlock()
	f.Found()
}

// Pause says that the source changes no task until [Feed.Resume].
func (f *Feed) Pause() {
	if f.late.Load() {
		f.Found()
	}
	f.turn.Unlock()
}

// Resume ends a pause. It waits for modules that come or go.
func (f *Feed) Resume() { f.turn.Lock() }

// Found says that the source has come to know tasks that existed before: modules
// that do not know them are attached to them.
func (f *Feed) Found() {
	f.late.Store(false)
	if regs := f.reg.following(); regs != nil {
		f.visit(func(ev *Event) {
			for _, reg := range regs {
				f.attach(reg, ev)
			}
		})
	}
}

// Following reports whether a module follows tasks: to others Found and Forget
// mean nothing.
func (f *Feed) Following() bool { return f.reg.following() != nil }

// Forget says that the source follows a task no longer, although it has no free:
// modules that know it are detached from it. The event is like those of
// [Feed.Follow].
func (f *Feed) Forget(ev *Event) {
	ev.Kind = Detach
	for _, reg := range f.reg.following() {
		f.detach(reg, ev)
	}
}

// End says that the source follows no task any more, and ends its turn.
func (f *Feed) End() {
	if regs := f.reg.following(); regs != nil {
		f.visit(func(ev *Event) {
			for _, reg := range regs {
				f.detach(reg, ev)
			}
		})
	}
	f.reg.mu.Lock()
	f.reg.feeds = slices.DeleteFunc(f.reg.feeds, func(o *Feed) bool { return o == f })
	f.reg.mu.Unlock()
	f.tasks = nil
	f.turn.Unlock()
}

// visit calls fn for each task. Callers hold the turn.
func (f *Feed) visit(fn func(*Event)) {
	if f.tasks != nil {
		f.tasks(func(ev *Event) {
			ev.Kind = Attach // which has all fields of a task
			fn(ev)
		})
	}
}

// Tasks calls fn with each task that the sources of the registry's feeds know to exist.
// One between its init and its clone has no ids yet. No source goes on meanwhile, so fn
// is short, and keeps nothing of the task. It must not be called by a watcher.
func (r *Registry) Tasks(fn func(*Task)) {
	r.mu.Lock()
	feeds := slices.Clone(r.feeds)
	r.mu.Unlock()
	for _, f := range feeds {
		f.turn.Lock()
		f.visit(func(ev *Event) { fn(ev.Task) })
		f.turn.Unlock()
	}
}

// attach calls a module's watchers of attach unless it knows the task, or has
// gone. A task between init and clone is attached at its clone. Callers hold the
// turn.
func (f *Feed) attach(reg *registration, ev *Event) {
	if reg.left.Load() || ev.Missing.Has(FieldTID) {
		return
	}
	if fresh, _ := ev.Task.storage.mark(reg); fresh {
		f.reg.handOut(f.meet(reg, Attach, ev))
	}
}

// detach calls a module's watchers of detach if it knows the task. Callers hold
// the turn.
func (f *Feed) detach(reg *registration, ev *Event) {
	if ev.Task.storage.delete(reg) {
		f.reg.handOut(f.meet(reg, Detach, ev))
	}
}

// handOut gives items to the sinks.
func (r *Registry) handOut(items []Item) {
	if items != nil {
		r.handAll(nil, nil, items)
	}
}

// meet calls a module's watchers of attach or detach for the task of an event, and
// returns what they have given cause for. Its name is known to insideWatcher.
func (f *Feed) meet(reg *registration, k Kind, at *Event) []Item {
	list := reg.lists[k-NumKinds]
	if len(list) == 0 {
		return nil
	}
	ev := &Event{Kind: k, Seq: at.Seq, Time: at.Time, MonoNS: at.MonoNS, Source: at.Source, Task: at.Task, Final: true}
	ev.Missing = FieldsTask & (at.Missing | ^FieldsOf(at.Kind))
	d := delivery{feed: f, ev: ev, list: list, snap: f.reg.now()}
	d.reading = f.reg.grace.enter(f.stripe)
	d.callAll()
	if !d.snap.attached {
		return nil
	}
	return append(ev.sent, d.failures...)
}

// introduce sets or removes the marks that the event's task has for modules, calls
// attach, and finds out which modules the event is not for.
func (d *delivery) introduce(m moment) {
	done := false
	defer func() {
		if !done { // a watcher of attach has ended the goroutine
			d.reading.Add(-1)
		}
	}()
	ev := d.ev
	for _, reg := range d.snap.follow {
		if ev.Kind == Free {
			if m != before && !ev.Task.storage.delete(reg) {
				d.skip = append(d.skip, reg)
			}
			continue
		}
		fresh, there := ev.Task.storage.mark(reg)
		switch {
		case ev.Kind == Init && fresh:
		case !there, ev.Kind == Init && m != after:
			d.skip = append(d.skip, reg)
		case fresh:
			d.ahead = append(d.ahead, d.feed.meet(reg, Attach, ev)...)
		}
	}
	done = true
}

// following returns the modules that have marks, or nil.
func (r *Registry) following() (regs []*registration) {
	if s := r.snap.Load(); s != nil {
		return s.follow
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reg := range r.modules {
		if reg.follows {
			regs = append(regs, reg)
		}
	}
	return regs
}

// attachAll introduces a module that has come to the tasks of feeds.
func attachAll(feeds []*Feed, reg *registration) {
	inside := len(feeds) > 0 && insideWatcher()
	for _, f := range feeds {
		if inside { // the turn may be this goroutine's
			f.late.Store(true)
			continue
		}
		f.turn.Lock()
		f.visit(func(ev *Event) { f.attach(reg, ev) })
		f.turn.Unlock()
	}
}

// hold takes the turns of all feeds, and mu. It returns the feeds.
func (r *Registry) hold() []*Feed {
	for {
		r.mu.Lock()
		feeds := slices.Clone(r.feeds)
		r.mu.Unlock()
		for _, f := range feeds {
			f.turn.Lock()
		}
		r.mu.Lock()
		if slices.Equal(feeds, r.feeds) {
			return feeds
		}
		r.mu.Unlock()
		release(feeds)
	}
}

func release(feeds []*Feed) {
	for _, f := range feeds {
		f.turn.Unlock()
	}
}

// withdraw takes a module out and detaches it from the tasks that it knows, while
// no source has its turn: a free in between would meet neither.
func (r *Registry) withdraw(m *Module) error {
	if !m.follows() {
		return r.remove(m)
	}
	feeds := r.hold()
	defer release(feeds)
	was, err := r.takeOut(m)
	r.mu.Unlock()
	if err == nil {
		for _, f := range feeds {
			f.visit(func(ev *Event) { f.detach(was, ev) })
		}
	}
	return err
}

// succeed puts a registration in the place of old's. Tasks are detached from the
// one and attached to the other.
func (r *Registry) succeed(old *Module, reg *registration) error {
	if !reg.follows && !old.follows() {
		r.mu.Lock()
		defer r.mu.Unlock()
		_, err := r.exchange(old, reg)
		return err
	}
	feeds := r.hold()
	defer release(feeds)
	was, err := r.exchange(old, reg)
	r.mu.Unlock()
	if err == nil {
		for _, f := range feeds {
			f.visit(func(ev *Event) {
				f.detach(was, ev)
				if reg.follows {
					f.attach(reg, ev)
				}
			})
		}
	}
	return err
}
