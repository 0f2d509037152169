package main

import (
	"context"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/top"
)

// pacer is a sink that hands on the items of a recording when they are due: as
// they came, some times as fast. Its source waits.
type pacer struct {
	*top.Sink
	ctx    context.Context
	end    context.CancelFunc // nothing waits any more
	factor float64            // 0: nothing waits, but for a pause

	mu      sync.Mutex // guards the fields below
	paused  bool
	changed chan struct{} // closed when paused changes
	begun   bool
	fromNS  int64 // on the recording's clock
	from    time.Time
}

// pacerStep is how often the model's clock is moved while nothing happens.
const pacerStep = 500 * time.Millisecond

func newPacer(ctx context.Context, to *top.Sink, factor float64) *pacer {
	p := &pacer{Sink: to, factor: factor, changed: make(chan struct{})}
	p.ctx, p.end = context.WithCancel(ctx)
	return p
}

func (p *pacer) Take(it taskwatch.Item) {
	switch {
	case it.Start != nil:
		p.mu.Lock()
		p.begun = false // another run has a time of its own
		p.mu.Unlock()
	case it.Event != nil:
		p.wait(it.Event.MonoNS)
	case it.Record != nil:
		p.wait(it.Record.MonoNS)
	case it.Failed != nil:
		p.wait(it.Failed.MonoNS)
	}
	p.Sink.Take(it)
}

// now returns where the recording is. p.mu is held.
func (p *pacer) now() int64 {
	if p.paused {
		return p.fromNS
	}
	return p.fromNS + int64(float64(time.Since(p.from))*p.factor)
}

func (p *pacer) wait(ns int64) {
	p.mu.Lock()
	if !p.begun {
		p.begun, p.fromNS, p.from = true, ns, time.Now()
	}
	p.mu.Unlock()
	for p.ctx.Err() == nil {
		p.mu.Lock()
		paused, changed, now := p.paused, p.changed, p.now()
		p.mu.Unlock()
		var timer <-chan time.Time
		if !paused {
			if p.factor == 0 || now >= ns {
				return
			}
			p.Sink.Advance(now)
			due := time.Duration(float64(ns-now) / p.factor)
			timer = time.After(min(due+time.Microsecond, pacerStep))
		}
		select {
		case <-timer:
		case <-changed:
		case <-p.ctx.Done():
		}
	}
}

// pause has the recording wait, or go on.
func (p *pacer) pause(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on == p.paused {
		return
	}
	p.fromNS, p.from = p.now(), time.Now()
	p.paused = on
	close(p.changed)
	p.changed = make(chan struct{})
}
