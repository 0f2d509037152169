package wasm

import (
	"sync/atomic"
	"time"
)

// watchdog stops calls that take too long. The caller says when a call begins
// and ends, which costs it two stores; a goroutine beside it looks from time
// to time whether it is still the same call.
type watchdog struct {
	// state holds the number of the call and the bits below it. The caller
	// writes it, and the watchdog sets stopped, with a compare and swap, so
	// that it never stops the call behind the one it means.
	state atomic.Uint64
	call  uint64 // the caller's own copy

	// target is what the call runs in. It is set while none runs.
	target atomic.Pointer[instance]

	limit  time.Duration // of a call
	parked atomic.Bool   // the watchdog sleeps until wake
	wake   chan struct{}
	done   chan struct{} // closed to end it
	ended  chan struct{} // closed when it has

	// stops has an element when a call was stopped, for those that sleep in
	// the host.
	stops chan struct{}
}

const (
	running  = 1 << iota
	stopped  // by the watchdog
	starting // it is no watcher: it has more time
	paused   // it is in the host, whose time is not its own

	nextCall = 1 << iota
)

// start starts the watchdog.
func (d *watchdog) start(limit time.Duration) {
	d.limit = limit
	d.wake = make(chan struct{}, 1)
	d.done, d.ended = make(chan struct{}), make(chan struct{})
	d.stops = make(chan struct{}, 1)
	go d.run()
}

// stop ends the watchdog, once no call runs any more.
func (d *watchdog) stop() {
	close(d.done)
	<-d.ended
}

// arm says that a call begins.
func (d *watchdog) arm(bits uint64) {
	d.call += nextCall
	d.state.Store(d.call | running | bits)
	if d.parked.Load() {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// disarm says that the call has ended, and reports whether it was stopped.
func (d *watchdog) disarm() bool {
	return d.state.Swap(d.call)&stopped != 0
}

// outside calls fn, whose time is not the module's, in the middle of a call:
// the clock stands still meanwhile. It reports false, and has not called it,
// where the module's time is up.
func (d *watchdog) outside(fn func()) bool {
	v := d.state.Load()
	if v&stopped != 0 || !d.state.CompareAndSwap(v, v|paused) {
		return false
	}
	defer d.state.And(^uint64(paused))
	fn()
	return true
}

// stopping reports whether the call that runs was stopped.
func (d *watchdog) stopping() bool { return d.state.Load()&stopped != 0 }

// A call is stopped when it was seen at so many ticks, of which its time has
// eight. They are counted, not timed: on a machine so busy that the watchdog
// comes late, the module did, too.
func (d *watchdog) run() {
	defer close(d.ended)
	tick := max(d.limit/8, time.Millisecond)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	var seen uint64
	var ticks time.Duration
	for {
		switch v := d.state.Load(); {
		case v&^paused != seen:
			seen, ticks = v&^paused, 0
		case v&running == 0:
			if !d.park(seen) {
				return
			}
		case v&(stopped|paused) == 0:
			if ticks++; ticks*tick >= d.limitOf(v) {
				d.stopCall(v)
			}
		}
		timer.Reset(tick)
		select {
		case <-timer.C:
		case <-d.done:
			return
		}
	}
}

func (d *watchdog) limitOf(state uint64) time.Duration {
	if state&starting != 0 {
		return max(d.limit, startDeadline)
	}
	return d.limit
}

// park waits until a call begins, and reports false at the end. The caller
// stores state and then loads parked; here it is the other way round.
func (d *watchdog) park(seen uint64) bool {
	d.parked.Store(true)
	defer d.parked.Store(false)
	if d.state.Load() != seen {
		return true
	}
	select {
	case <-d.wake:
		return true
	case <-d.done:
		return false
	}
}

func (d *watchdog) stopCall(v uint64) {
	target := d.target.Load() // before: it is that of v only while v runs
	if !d.state.CompareAndSwap(v, v|stopped) {
		return
	}
	target.stop.Set(1)
	select {
	case d.stops <- struct{}{}:
	default:
	}
}

// stopNow stops the call that runs, if one does. It may be called from any
// goroutine.
func (d *watchdog) stopNow() {
	for {
		v := d.state.Load()
		if v&running == 0 || v&stopped != 0 {
			return
		}
		d.stopCall(v)
	}
}

// sleep is what the module sleeps with: no longer than it may run.
func (d *watchdog) sleep(ns int64) {
	timer := time.NewTimer(time.Duration(ns))
	defer timer.Stop()
	for d.state.Load()&stopped == 0 {
		select {
		case <-timer.C:
			return
		case <-d.stops: // or of an earlier call
		}
	}
}
