package process

import "github.com/taskwatch/taskwatch"

// Axis puts the items of several runs on one axis of time. Within a boot of a
// machine their MonoNS is that; another boot begins at 0 again. The zero value
// leaves what comes first as it is.
type Axis struct {
	begun  bool // by a start
	boot   string
	atNS   int64 // on the axis, and when on the wall clock the first run began
	wallNS int64
	moveNS int64 // from the clock of this run to the axis
	lastNS int64 // of what was taken, on the axis

	event taskwatch.Event // what a moved item points to, until the next one
}

// Take returns an item on the axis. It is the item itself, or a copy that is valid
// until the next call. A run of another boot is as long after the first one as the
// wall clock says, but no run begins before what was taken has ended.
func (a *Axis) Take(it taskwatch.Item) taskwatch.Item {
	if it.Start != nil {
		return a.start(it)
	}
	if a.moveNS != 0 {
		it = a.moved(it)
	}
	switch {
	case it.Event != nil:
		a.lastNS = max(a.lastNS, it.Event.MonoNS)
	case it.Record != nil:
		a.lastNS = max(a.lastNS, it.Record.MonoNS)
	case it.Failed != nil:
		a.lastNS = max(a.lastNS, it.Failed.MonoNS)
	}
	return it
}

func (a *Axis) start(it taskwatch.Item) taskwatch.Item {
	s := *it.Start
	at := s.MonoNS + a.moveNS
	if !a.begun {
		a.begun, a.atNS, a.wallNS = true, at, s.Time.UnixNano()
	} else {
		if s.Boot != a.boot {
			at = a.atNS + s.Time.UnixNano() - a.wallNS
		}
		at = max(at, a.lastNS)
	}
	a.boot = s.Boot
	a.moveNS = at - s.MonoNS
	a.lastNS = at
	if a.moveNS == 0 {
		return it
	}
	s.MonoNS = at
	return taskwatch.Item{Start: &s}
}

func (a *Axis) moved(it taskwatch.Item) taskwatch.Item {
	event := func(ev *taskwatch.Event) *taskwatch.Event {
		a.event = *ev
		a.event.MonoNS += a.moveNS
		return &a.event
	}
	switch {
	case it.Event != nil:
		it.Event = event(it.Event)
	case it.Failure != nil && it.Failure.Event != nil:
		f := *it.Failure
		f.Event = event(f.Event)
		it.Failure = &f
	case it.Record != nil:
		r := *it.Record
		r.MonoNS += a.moveNS
		it.Record = &r
	case it.Failed != nil:
		f := *it.Failed
		f.MonoNS += a.moveNS
		it.Failed = &f
	}
	return it
}
