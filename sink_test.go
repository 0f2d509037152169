package taskwatch

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// note describes an item.
func note(it Item) string {
	switch {
	case it.Event != nil:
		return fmt.Sprintf("%s %d", it.Event.Kind, it.Event.Seq)
	case it.Failure != nil:
		return fmt.Sprintf("%s %s at %d", it.Failure.Module, it.Failure.Verdict, it.Seq())
	case it.Record != nil:
		return fmt.Sprintf("%s sends %s at %d", it.Record.Module, it.Record.Data, it.Seq())
	case it.Loss != nil:
		return fmt.Sprintf("%d lost from %d", it.Loss.Count, it.Loss.Seq)
	}
	return "nothing"
}

// notes is a sink that keeps what it is given.
type notes struct {
	wants Wants
	mu    sync.Mutex // guards the fields below
	list  []string
	hold  chan struct{} // if set, Take waits for it
	ended bool
}

func (n *notes) Wants() Wants { return n.wants }

func (n *notes) Take(it Item) {
	if n.hold != nil {
		<-n.hold
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, note(it))
}

func (n *notes) Close(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended = true
	return errAct
}

func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

func mustAttach(t testing.TB, r *Registry, s Sink) {
	t.Helper()
	if err := r.Attach(s); err != nil {
		t.Fatal(err)
	}
}

// Per event: the event if it happened, then what its watchers gave cause for.
func TestOrderOfItems(t *testing.T) {
	var r Registry
	deny, odd := errors.New("no"), errors.New("odd")
	guard := &Module{Name: "guard"}
	guard.Watch(Exec, func(ev *Event) error {
		ev.Send("guard", []byte("asked"))
		switch ev.Val {
		case 1:
			return deny
		case 2:
			panic("a bug")
		}
		return nil
	})
	mustRegister(t, &r, guard, observing("witness", Exec, func(*Event) error { return odd }))
	n := &notes{wants: WantAll(KindsOf(Exec, Exit))}
	mustAttach(t, &r, n)
	feed := r.Feed()
	task := &Task{}
	at := func(k Kind, seq, val uint64) *Event { return &Event{Kind: k, Seq: seq, Val: val, Task: task} }
	for _, c := range []struct {
		what   string
		deny   Kinds
		dryRun bool
		do     func()
		want   []string
	}{
		{"it happens", AllKinds, false, func() {
			feed.NotifyBefore(at(Exec, 1, 0))
			feed.NotifyAfter(at(Exec, 1, 0))
		}, []string{"exec 1", "guard sends asked at 1", "witness counted at 1"}},
		{"it is denied", AllKinds, false, func() {
			if Denial(feed.NotifyBefore(at(Exec, 2, 1))) == 0 {
				t.Error("not denied")
			}
		}, []string{"guard sends asked at 2", "guard denied at 2"}},
		{"it would be denied", AllKinds, true, func() {
			if err := feed.NotifyBefore(at(Exec, 2, 1)); err == nil || Denial(err) != 0 {
				t.Errorf("denied in a dry run: %v", err)
			}
			feed.NotifyAfter(at(Exec, 2, 1))
		}, []string{"exec 2", "guard sends asked at 2", "guard would deny at 2", "witness counted at 2"}},
		{"nobody can deny", 0, false, func() { feed.Notify(at(Exec, 3, 1)) },
			[]string{"exec 3", "guard sends asked at 3", "guard counted at 3", "witness counted at 3"}},
		{"a crash denies nothing, and the exec fails by itself", AllKinds, false, func() {
			feed.NotifyBefore(at(Exec, 4, 2))
			feed.Notify(at(Exit, 4, 0))
		}, []string{"guard sends asked at 4", "guard counted at 4", "exit 4"}},
		{"not watched, and nothing is left", AllKinds, false, func() { feed.Notify(at(Free, 5, 0)) }, nil},
		{"a loss gets its number", AllKinds, false, func() { feed.Deliver(Item{Loss: &Loss{}}) }, []string{"0 lost from 5"}},
	} {
		feed.Deny, feed.DryRun = c.deny, c.dryRun
		if c.do(); !slices.Equal(n.list, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.what, strings.Join(n.list, "\n"), strings.Join(c.want, "\n"))
		}
		n.take()
	}
}

func TestAttachAndDetach(t *testing.T) {
	var r Registry
	n := &notes{wants: Wants{Exec: 0}}
	if err := r.Detach(context.Background(), n); !errors.Is(err, ErrNotRegistered) || n.ended {
		t.Errorf("detach of what is not attached: %v", err)
	}
	for range 2 { // before the first event, and after it
		mustAttach(t, &r, n)
		if err := r.Attach(n); !errors.Is(err, ErrRegistered) {
			t.Errorf("attach twice: %v", err)
		}
		if got := r.Feed().Kinds(); got != KindsOf(Exec) {
			t.Errorf("wanted are %v", got)
		}
		r.Feed().Notify(&Event{Kind: Exec, Seq: 1, Task: &Task{}})
		r.Feed().Notify(&Event{Kind: Exit, Seq: 2, Task: &Task{}})
		if got := n.take(); !slices.Equal(got, []string{"exec 1"}) {
			t.Errorf("got %q", got)
		}
		if err := r.Detach(context.Background(), n); err != errAct || !n.ended {
			t.Errorf("detach: %v", err)
		}
		r.Feed().Notify(&Event{Kind: Exec, Seq: 3, Task: &Task{}})
		if got := n.take(); got != nil || r.Feed().Kinds() != 0 {
			t.Errorf("after its end it got %q", got)
		}
	}
}

// A sink that wants something else gets it, and none of what it still wants is
// missed meanwhile.
func TestRewant(t *testing.T) {
	var r Registry
	n := &notes{wants: Wants{Exec: 0}}
	if err := r.Rewant(n); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("of what is not attached: %v", err)
	}
	mustAttach(t, &r, n)
	stop, ended, seq := make(chan struct{}), make(chan struct{}), uint64(0)
	go func() {
		defer close(ended)
		for feed := r.Feed(); ; {
			select {
			case <-stop:
				return
			default:
				seq++
				feed.Notify(&Event{Kind: Exec, Seq: seq, Task: &Task{}})
			}
		}
	}()
	for i := range 100 {
		n.wants = Wants{Exec: 0}
		if i%2 == 0 {
			n.wants[UID] = FieldComm
		}
		if err := r.Rewant(n); err != nil {
			t.Fatal(err)
		}
		if got := r.Feed().Kinds(); got != n.wants.Kinds() || r.Feed().Reads(UID) != n.wants[UID] {
			t.Errorf("wanted are %v, want %v", got, n.wants)
		}
	}
	close(stop)
	<-ended
	for i, got := range n.take() {
		if want := fmt.Sprintf("exec %d", i+1); got != want {
			t.Fatalf("%q is in the place of %q", got, want)
		}
	}
}

// A sink that panics loses the item, and takes it from nobody else.
func TestSinkPanics(t *testing.T) {
	var r Registry
	n := &notes{wants: WantAll(AllKinds)}
	mustAttach(t, &r, NewSink(WantAll(AllKinds), func(Item) { panic("a bug") }))
	mustAttach(t, &r, n)
	for seq := range uint64(3) {
		if err := r.Feed().Notify(&Event{Kind: Exec, Seq: seq, Task: &Task{}}); err != nil {
			t.Error(err)
		}
	}
	if got := n.take(); len(got) != 3 || r.SinkPanics() != 3 {
		t.Errorf("the other got %q, and %d were lost", got, r.SinkPanics())
	}
}

// Items of many goroutines come one at a time, each goroutine's in order.
func TestSinkIsCalledByOneGoroutineAtATime(t *testing.T) {
	var r Registry
	const goroutines, each = 4, 500
	var next [goroutines]uint64 // without a lock: the race detector looks on
	mustAttach(t, &r, NewSink(WantAll(AllKinds), func(it Item) {
		g := it.Event.Val
		if next[g]++; it.Event.Seq != next[g] {
			t.Errorf("goroutine %d: event %d came as number %d", g, it.Event.Seq, next[g])
		}
		runtime.Gosched()
	}))
	var all sync.WaitGroup
	for g := range uint64(goroutines) {
		all.Go(func() {
			feed := r.Feed()
			for i := range uint64(each) {
				feed.Notify(&Event{Kind: Exec, Val: g, Seq: i + 1, Task: &Task{}})
			}
		})
	}
	all.Wait()
	if next != [goroutines]uint64{each, each, each, each} {
		t.Errorf("got %v", next)
	}
}

// A queue hands on everything in order, as independent copies.
func TestQueueHandsOn(t *testing.T) {
	n := &notes{wants: WantAll(KindsOf(Exec))}
	q := NewQueue(n, QueueOptions{Block: true, Size: 4 * itemSize})
	if len(q.Wants()) != 1 {
		t.Error("it wants something else")
	}
	ev := &Event{Kind: Exec, Task: &Task{}}
	var want []string
	for i := range uint64(1000) {
		ev.Seq = i
		q.Take(Item{Event: ev})
		want = append(want, fmt.Sprint("exec ", i))
		if i%100 == 0 {
			data := []byte("x")
			q.Take(Item{Record: &Record{Module: "m", Data: data, Seq: i}})
			data[0] = 'y'
			q.Take(Item{Failure: &Failure{Module: "m", Event: ev}})
			want = append(want, fmt.Sprintf("m sends x at %d", i), fmt.Sprintf("m counted at %d", i))
		}
	}
	if err := q.Sync(context.Background()); err != nil {
		t.Error(err)
	}
	if got := n.take(); !slices.Equal(got, want) {
		t.Errorf("%d items, want %d, in order", len(got), len(want))
	}
	q.Take(Item{Event: ev})
	if err := q.Close(context.Background()); err != errAct || len(n.take()) != 1 || q.Dropped() != 0 {
		t.Errorf("at the end: %v, %d dropped", err, q.Dropped())
	}
}

// What finds no room is lost, and counted in its place: what was handed on
// and what was lost add up, for every size of queue.
func TestQueueCountsWhatItLoses(t *testing.T) {
	for size := 1; size < 20*itemSize; size += itemSize / 2 {
		n := &notes{hold: make(chan struct{})}
		var got, lost uint64
		var some int
		seq := uint64(0)
		sink := NewSink(nil, func(it Item) {
			<-n.hold
			switch {
			case it.Loss != nil && it.Loss.Count == 0:
				some++
			case it.Loss != nil:
				if it.Loss.Seq != seq+1 {
					t.Errorf("size %d: a loss at %d behind %d", size, it.Loss.Seq, seq)
				}
				lost += it.Loss.Count
				seq += it.Loss.Count
			default:
				got++
				if seq++; it.Event.Seq != seq {
					t.Errorf("size %d: event %d came as number %d", size, it.Event.Seq, seq)
				}
			}
		})
		q := NewQueue(sink, QueueOptions{Size: size})
		const events = 100
		for i := range uint64(events) {
			q.Take(Item{Event: &Event{Kind: Exec, Seq: i + 1, Task: &Task{}}})
		}
		q.Take(Item{Loss: &Loss{Seq: events + 1}}) // nobody knows how many
		close(n.hold)
		if err := q.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if got+lost != events || lost != q.Dropped() || lost == 0 || some != 1 {
			t.Errorf("size %d: %d events and %d lost of %d, %d dropped, %d losses of unknown size", size, got, lost, events, q.Dropped(), some)
		}
	}
}

// Where a run begins is never lost, also where all around it finds no room: ids of
// tasks do not go on behind it.
func TestQueueKeepsStarts(t *testing.T) {
	for size := 1; size < 20*itemSize; size += itemSize / 2 {
		hold := make(chan struct{})
		var lost, events uint64
		var host string
		q := NewQueue(NewSink(nil, func(it Item) {
			<-hold
			switch {
			case it.Start != nil:
				host = it.Start.Host
			case it.Loss != nil:
				lost += it.Loss.Count
			default:
				events++
			}
		}), QueueOptions{Size: size})
		const runs, each = 3, 50
		for range runs {
			for seq := range uint64(each) {
				q.Take(Item{Event: &Event{Kind: Exec, Seq: seq + 1, Task: &Task{}}})
			}
			start := &Start{Host: "the last one"}
			q.Take(Item{Start: start})
			*start = Start{}
		}
		q.Take(Item{Event: &Event{Kind: Exec, Seq: 1, Task: &Task{}}})
		close(hold)
		if err := q.Close(t.Context()); err != nil || host != "the last one" || lost == 0 || lost+events != runs*each+1 || lost != q.Dropped() {
			t.Errorf("size %d: %v; the last start is of %q, %d lost and %d events of %d", size, err, host, lost, events, runs*each+1)
		}
	}
}

// A queue that blocks holds up who delivers, and loses nothing.
func TestQueueBlocks(t *testing.T) {
	n := &notes{hold: make(chan struct{})}
	q := NewQueue(n, QueueOptions{Size: 2 * itemSize, Block: true})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range uint64(20) {
			q.Take(Item{Event: &Event{Kind: Exec, Seq: i, Task: &Task{}}})
		}
	}()
	select {
	case <-done:
		t.Error("it did not block")
	case <-time.After(50 * time.Millisecond):
	}
	close(n.hold)
	<-done
	q.Close(context.Background())
	if got := n.take(); len(got) != 20 || q.Dropped() != 0 {
		t.Errorf("%d items of 20, %d dropped", len(got), q.Dropped())
	}
}

// Close gives up when its context ends, and closes the other sink later.
func TestQueueGivesUp(t *testing.T) {
	n := &notes{hold: make(chan struct{})}
	q := NewQueue(n, QueueOptions{})
	for i := range uint64(5) {
		q.Take(Item{Event: &Event{Kind: Exec, Seq: i, Task: &Task{}}})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := q.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("closed: %v", err)
	}
	close(n.hold)
	<-q.ended
	if got := n.take(); len(got) > 1 || !n.ended {
		t.Errorf("given up, and got %q; closed: %v", got, n.ended)
	}
}

// What never changes is handed on itself, among copies of the rest.
func TestQueueTakesCopies(t *testing.T) {
	kept := Item{Event: &Event{Kind: Exec, Seq: 7, Task: &Task{}}}
	var same, others int
	q := NewQueue(NewSink(nil, func(it Item) {
		if it == kept {
			same++
		} else if it.Event.Seq == 8 && it.Event.Task.PID == 9 {
			others++
		}
	}), QueueOptions{Block: true})
	for range 100 {
		q.TakeCopy(kept)
		other := &Event{Kind: Exec, Seq: 8, Task: &Task{PID: 9}}
		q.Take(Item{Event: other})
		*other = Event{}
	}
	if err := q.Close(context.Background()); err != nil || same != 100 || others != 100 {
		t.Errorf("got %d times the same and %d others, want 100 of each; %v", same, others, err)
	}
}

// A queue that is emptied after each item uses the same memory again.
func TestQueueUsesMemoryAgain(t *testing.T) {
	q := &Queue{free: []*chunk{new(chunk)}}
	if n := testing.AllocsPerRun(100, func() {
		c := q.tail()
		q.items, q.free = q.items[:0], append(q.free, c)
	}); n != 0 {
		t.Errorf("%v allocations an item", n)
	}
}

// Taking an event allocates nothing once the queue has its room.
func TestQueueAllocatesNothing(t *testing.T) {
	q := NewQueue(NewSink(nil, func(Item) {}), QueueOptions{})
	defer q.Close(context.Background())
	ev := &Event{Kind: Exec, Task: &Task{Argv: []string{"a"}}}
	for range 100_000 {
		q.Take(Item{Event: ev})
	}
	if n := testing.AllocsPerRun(200, func() { q.Take(Item{Event: ev}) }); n > 0.5 {
		t.Errorf("%v allocations an event", n)
	}
}

func BenchmarkQueue(b *testing.B) {
	q := NewQueue(NewSink(nil, func(Item) {}), QueueOptions{Block: true})
	defer q.Close(context.Background())
	ev := &Event{Kind: Exec, Task: &Task{Argv: []string{"a", "b"}}}
	b.ReportAllocs()
	for b.Loop() {
		q.Take(Item{Event: ev})
	}
}
