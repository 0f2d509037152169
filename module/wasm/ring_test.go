package wasm

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// takeAll takes what waits, and returns the numbers of the events.
func takeAll(q *queue) (seqs []uint64) {
	for e := q.take(); e != nil; e = q.take() {
		seqs = append(seqs, e.event().Seq)
	}
	return seqs
}

// What waits for a slow module, and what a quick one has had meanwhile, takes memory
// once, and gives it back. A module for which nothing happens holds nothing.
func TestRingGivesBack(t *testing.T) {
	const burst = 200_000
	r := newRing()
	q := queuesFor(t, r, DefaultQueue, DefaultQueue, DefaultQueue)
	slow, quick := q[0], q[1]
	ev := event(taskwatch.Exec)
	for ev.Seq = 1; ev.Seq <= burst; ev.Seq++ {
		if !slow.put(ev) || !quick.put(ev) {
			t.Fatalf("there is no room for event %d", ev.Seq)
		}
		if ev.Seq%10 == 0 {
			takeAll(quick)
		}
	}
	if want := (burst + perChunk - 1) / perChunk; r.chunks != want || len(r.spare) != 0 {
		t.Errorf("%d chunks and %d spare ones hold %d events, want %d", r.chunks, len(r.spare), burst, want)
	}
	next := uint64(0)
	for e := slow.take(); e != nil; e = slow.take() {
		if next++; e.event().Seq != next {
			t.Fatalf("got event %d, want %d", e.event().Seq, next)
		}
	}
	if next != burst || slow.drops.Load() != 0 {
		t.Errorf("%d events came, and %d were dropped, of %d", next, slow.drops.Load(), burst)
	}
	if r.chunks != 1 || len(r.spare) != maxSpare {
		t.Errorf("%d chunks and %d spare ones hold nothing, want 1 and %d", r.chunks, len(r.spare), maxSpare)
	}
	for _, c := range r.spare {
		if c.texts.n != 0 || c.texts.list[0] != nil && c.texts.list[0][0].Comm != "" {
			t.Fatal("a spare chunk keeps strings")
		}
	}
}

// Beyond its bound the ring lets go of what is the oldest. What a module loses by that
// is counted, a module that waits for few events loses none, and a quick one none
// either; what is being dealt with does not change.
func TestRingIsBounded(t *testing.T) {
	const n, rare = 20_000, 100
	r := newRing()
	q := queuesFor(t, r, DefaultQueue, DefaultQueue, DefaultQueue)
	slow, quick, seldom := q[0], q[1], q[2]
	r.most = 4
	var current *packedEvent
	var quickly []uint64
	ev := event(taskwatch.Exec)
	for ev.Seq = 1; ev.Seq <= n; ev.Seq++ {
		ok := slow.put(ev) && quick.put(ev)
		if ev.Seq%rare == 0 {
			ok = ok && seldom.put(ev)
		}
		if !ok {
			t.Fatalf("there is no room for event %d", ev.Seq)
		}
		if r.chunks > r.most {
			t.Fatalf("%d chunks, want %d at most", r.chunks, r.most)
		}
		if ev.Seq == 10 {
			current = slow.take()
		}
		quickly = append(quickly, takeAll(quick)...)
	}
	if current.event().Seq != 1 || current.text.Comm != "cc" {
		t.Errorf("the event that was taken out is now number %d", current.event().Seq)
	}
	waiting, dropped := slow.len(), int(slow.drops.Load())
	got := takeAll(slow)
	if 1+len(got)+dropped != n || len(got) != waiting || waiting < maxApart {
		t.Errorf("of %d events 1 was taken, %d waited, %d came and %d were dropped", n, waiting, len(got), dropped)
	}
	for i, seq := range got {
		if want := uint64(i + 2); seq != want && seq != want+uint64(dropped) {
			t.Fatalf("event %d is number %d, of %d", i, seq, len(got))
		}
	}
	if len(got) > 0 && got[len(got)-1] != n {
		t.Errorf("the last event is %d, want %d", got[len(got)-1], n)
	}
	if len(quickly) != n || quick.drops.Load() != 0 {
		t.Errorf("a quick one got %d of %d events, and dropped %d", len(quickly), n, quick.drops.Load())
	}
	if got := takeAll(seldom); len(got) != n/rare || seldom.drops.Load() != 0 || got[0] != rare {
		t.Errorf("one with few events got %d of them, want %d; %d dropped", len(got), n/rare, seldom.drops.Load())
	}
	if r.chunks != 1 {
		t.Errorf("%d chunks hold nothing", r.chunks)
	}
}

// Modules come and go in one ring, while events come from two sides: each gets exactly
// what was put for it, in its order.
func TestQueuesComeAndGo(t *testing.T) {
	const rounds, each = 200, 100
	r := newRing()
	queuesFor(t, r, 10) // keeps the ring, and gets nothing
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			ev := event(taskwatch.Exec)
			for range rounds {
				q := newQueue(DefaultQueue, nil, new(atomic.Uint64))
				if !r.join(q) {
					t.Error("there is no room")
					return
				}
				next := uint64(0)
				for ev.Seq = 1; ev.Seq <= each; ev.Seq++ {
					if !q.put(ev) {
						t.Error("there is no room for an event")
					}
					if ev.Seq%7 == 0 {
						if e := q.take(); e.event().Seq != next+1 {
							t.Errorf("got event %d, want %d", e.event().Seq, next+1)
						}
						next++
					}
				}
				for _, seq := range takeAll(q)[:each/2] {
					if next++; seq != next {
						t.Errorf("got event %d, want %d", seq, next)
					}
				}
				q.put(ev) // and is gone with it
				r.leave(q)
				if q.put(ev) || q.len() != 0 || q.clear() != 0 || q.take() != nil || q.drops.Load() != 1 {
					t.Errorf("a queue that has left takes an event, or has dropped %d, want 1", q.drops.Load())
				}
			}
		})
	}
	all.Wait()
}

// A burst of 200,000 events while a module is in a call is there for it, to the last one.
func TestBurst(t *testing.T) {
	const burst = 200_000
	m := load(t, parse(t, "bench.c"), LoadOptions{Deadline: time.Minute})
	var r taskwatch.Registry
	tm := m.Watchers(0)
	register(t, &r, tm)
	feed, ev := r.Feed(), event(taskwatch.Exec)
	m.mu.Lock() // as in a call
	for range burst {
		ev.Seq++
		if err := feed.Notify(ev); err != nil {
			t.Error(err)
		}
	}
	s := m.Stats()
	m.mu.Unlock()
	if s.Queued != burst || s.Calls != 0 || s.Drops != 0 {
		t.Errorf("%+v", s)
	}
	for s = m.Stats(); s.Queued > 0; s = m.Stats() {
		time.Sleep(time.Millisecond)
	}
	unregister(t, &r, tm)
	if s = m.Stats(); s.Calls != burst || s.Drops != 0 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
	if got := global(t, m, "execs"); got != uint64(burst) {
		t.Errorf("it has counted %v events, want %d", got, burst)
	}
}

// More modules than have room in one ring are all called.
func TestManyModules(t *testing.T) {
	o := parse(t, "bench.c")
	var r taskwatch.Registry
	var modules []*Module
	for i := range queuesPerRing + 2 {
		m := load(t, o, LoadOptions{})
		tm := m.Watchers(0)
		tm.Name += fmt.Sprint(i)
		register(t, &r, tm)
		modules = append(modules, m)
	}
	ev := event(taskwatch.Exec)
	ev.Seq = 1
	if err := r.Feed().Notify(ev); err != nil {
		t.Fatal(err)
	}
	for i, m := range modules {
		eventually(t, "each was called", func() bool { return m.Stats().Calls == 1 })
		if m.queue.ring == modules[0].queue.ring && i >= queuesPerRing {
			t.Errorf("%d modules are in one ring", i+1)
		}
	}
}
