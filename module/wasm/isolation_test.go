package wasm

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// bystander is a module that must miss nothing of what another does to it.
func bystander(t testing.TB, r *taskwatch.Registry) (counted func() uint64) {
	var n atomic.Uint64
	m := &taskwatch.Module{Name: "bystander"}
	for _, k := range taskwatch.AllKinds.List() {
		m.Watch(k, func(*taskwatch.Event) error { n.Add(1); return nil })
	}
	register(t, r, m)
	return n.Load
}

// What a module does wrong stops at the module: it gets a fresh instance with
// the same parameters, and everybody else all events.
func TestCrashes(t *testing.T) {
	o := parse(t, "hostile.c")
	for _, c := range []struct {
		mode int
		what string
		kind error
		says string
	}{
		{1, "an endless loop", ErrDeadline, "deadline exceeded: it took more than 20ms"},
		{2, "an empty endless loop", ErrDeadline, "deadline exceeded"},
		{3, "recursion that takes for ever", ErrDeadline, "deadline exceeded"},
		{4, "recursion without end", ErrTrap, "trap: out of bounds memory access"},
		{5, "a division by zero", ErrTrap, "trap: integer divide by zero"},
		{6, "a trap", ErrTrap, "trap: unreachable"},
		{7, "an address out of memory", ErrTrap, "trap: out of bounds memory access"},
		{9, "an endless flood of records", ErrDeadline, "deadline exceeded"},
	} {
		for _, inPlace := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s in place %t", c.what, inPlace), func(t *testing.T) {
				var mu sync.Mutex
				var reported []*taskwatch.Failure
				var r taskwatch.Registry
				feed := failures(t, &r, func(f *taskwatch.Failure) {
					mu.Lock()
					defer mu.Unlock()
					reported = append(reported, f)
				})
				m := load(t, o, LoadOptions{Params: params(fmt.Sprintf("mode=%d", c.mode), "every=2", "deadline=20ms"), Feed: feed})
				before := bystander(t, &r)
				var veto taskwatch.Kinds
				if inPlace {
					veto = taskwatch.KindsOf(taskwatch.Exec)
				}
				tm := m.Watchers(veto)
				register(t, &r, tm)
				// A call while the module starts anew fails, too: on a busy machine
				// that takes longer than a deadline. Reading a variable waits for it.
				calls := uint64(0)
				notify := func(k taskwatch.Kind) error {
					err := r.Feed().Notify(event(k))
					calls++
					eventually(t, "it was called", func() bool { return m.Stats().Calls == calls })
					global(t, m, "mode")
					return err
				}
				// The second exec crashes it, and the next begins anew.
				for i := range 3 {
					if err := notify(taskwatch.Exec); inPlace && (i == 1) != (err != nil) {
						t.Errorf("exec %d: %v", i+1, err)
					}
					if err := notify(taskwatch.Exit); err != nil {
						t.Error(err)
					}
				}
				unregister(t, &r, tm)
				if n := before(); n != 6 {
					t.Errorf("the other module was called %d times, want 6", n)
				}
				if s := m.Stats(); s.Calls != 6 || s.Crashes != 1 || s.Drops != 0 || s.Errors != 0 || s.Vetoes != 0 || s.State != Running {
					t.Errorf("%+v", s)
				}
				if calls, counted := global(t, m, "calls"), global(t, m, "counted"); calls != uint64(1) || counted != uint64(2) {
					t.Errorf("the fresh instance has counted %v execs and %v exits, want 1 and 2", calls, counted)
				}
				if global(t, m, "mode") != int64(c.mode) {
					t.Error("the fresh instance has other parameters")
				}
				mu.Lock()
				defer mu.Unlock()
				if len(reported) != 1 {
					t.Fatalf("%d errors reported: %v", len(reported), reported)
				}
				we := reported[0]
				if !errors.Is(we.Err, c.kind) || !strings.Contains(we.Err.Error(), c.says) || !we.Crash || we.Verdict != taskwatch.Counted ||
					we.Module != "hostile" || we.Watcher != "misbehave" || we.Kind != taskwatch.Exec || we.Event.Task.Exe != "/usr/bin/cc" {
					t.Errorf("reported %+v", we)
				}
			})
		}
	}
}

// Garbage is collected while a module loops: its code is no place where a
// goroutine can be stopped, and all others would wait.
func TestCollectionDuringACall(t *testing.T) {
	m := load(t, parse(t, "hostile.c"), LoadOptions{Params: params("mode=1", "deadline=200ms")})
	var r taskwatch.Registry
	tm := m.Watchers(0)
	register(t, &r, tm)
	for range 2 {
		if err := r.Feed().Notify(event(taskwatch.Exec)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the call began", func() bool { return m.sandbox.dog.state.Load()&running != 0 })
		collected := 0
		for m.sandbox.dog.state.Load()&running != 0 {
			runtime.GC()
			collected++
		}
		if collected == 0 {
			t.Error("no collection ended during the call")
		}
	}
}

// A module that keeps crashing is not called any more, and says so, until it
// is reloaded.
func TestQuarantine(t *testing.T) {
	var log logged
	m := load(t, parse(t, "hostile.c"), LoadOptions{Params: params("mode=6"),
		Log: func(l slog.Level, text string) { log.add(l, text) }})
	var r taskwatch.Registry
	before := bystander(t, &r)
	tm := m.Watchers(taskwatch.KindsOf(taskwatch.Exec))
	register(t, &r, tm)
	for i := range maxCrashes {
		if s := m.Stats(); s.State != Running {
			t.Fatalf("after %d crashes: %+v", i, s)
		}
		if err := r.Feed().Notify(event(taskwatch.Exec)); !errors.Is(err, ErrTrap) {
			t.Errorf("crash %d: %v", i, err)
		}
	}
	s := m.Stats()
	if s.State != Quarantined || !strings.Contains(s.Why, "it crashed 5 times in") || !strings.Contains(s.Why, "unreachable") {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(log.String(), "ERROR quarantined: it crashed 5 times") {
		t.Errorf("logged %s", &log)
	}
	for range 3 {
		if err := r.Feed().Notify(event(taskwatch.Exec)); err != nil {
			t.Error(err)
		}
		if err := r.Feed().Notify(event(taskwatch.Exit)); err != nil {
			t.Error(err)
		}
	}
	if s := m.Stats(); s.Calls != maxCrashes || s.Drops != 6 || s.Queued != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := m.Globals(t.Context()); !errors.Is(err, ErrQuarantined) {
		t.Errorf("globals: %v", err)
	}
	unregister(t, &r, tm)
	if n := before(); n != maxCrashes+6 {
		t.Errorf("the other module was called %d times", n)
	}
	if !strings.Contains(log.String(), "WARN 6 events dropped") {
		t.Errorf("logged %s", &log)
	}
}

// Whether a crash denies the operation is the user's to choose.
func TestOnError(t *testing.T) {
	o := parse(t, "hostile.c")
	for _, c := range []struct {
		params []string
		final  bool
		errno  error // of the veto, nil if there is none
	}{
		{[]string{"mode=6"}, false, nil},
		{[]string{"mode=6", "onerror=open"}, false, nil},
		{[]string{"mode=6", "onerror=deny"}, false, syscall.EACCES},
		{[]string{"mode=6", "onerror=deny"}, true, nil},
		{[]string{"mode=1", "onerror=deny", "deadline=10ms"}, false, syscall.EACCES},
		{[]string{"mode=13", "onerror=deny"}, false, syscall.EINVAL}, // it did decide
	} {
		m := load(t, o, LoadOptions{Params: params(c.params...)})
		var r taskwatch.Registry
		tm := m.Watchers(taskwatch.KindsOf(taskwatch.Exec))
		register(t, &r, tm)
		// Past the quarantine, too.
		for i := range maxCrashes + 2 {
			ev := event(taskwatch.Exec)
			ev.Final = c.final
			err := denying(&r).NotifyBefore(ev)
			errno := taskwatch.Denial(err)
			if denied := errno != 0; denied != (c.errno != nil) || denied && errno != c.errno {
				t.Errorf("%q: exec %d: %v", c.params, i, err)
			}
		}
		if want := map[bool]uint64{true: maxCrashes + 2}[c.errno != nil]; m.Stats().Vetoes != want {
			t.Errorf("%q: %d vetoes, want %d", c.params, m.Stats().Vetoes, want)
		}
		unregister(t, &r, tm)
	}
}

// So is whether a program that nobody knows runs, when it is asked about for the
// last time; before that it is asked about again.
func TestOnErrorOfTheUnknown(t *testing.T) {
	o := parse(t, "hostile.c")
	for _, c := range []struct {
		params        []string
		late, missing bool
		denied        bool
	}{
		{[]string{"mode=0", "onerror=deny"}, true, true, true},
		{[]string{"mode=0", "onerror=open"}, true, true, false},
		{[]string{"mode=0", "onerror=deny"}, true, false, false},
		{[]string{"mode=0", "onerror=deny"}, false, true, false},
		{[]string{"mode=13", "onerror=open"}, true, true, true}, // it did decide
	} {
		m := load(t, o, LoadOptions{Params: params(c.params...)})
		var r taskwatch.Registry
		tm := m.Watchers(taskwatch.KindsOf(taskwatch.Exec))
		register(t, &r, tm)
		ev := event(taskwatch.Exec)
		ev.Late = c.late
		if c.missing {
			ev.Missing |= taskwatch.FieldExe
		}
		if err := denying(&r).NotifyBefore(ev); (taskwatch.Denial(err) != 0) != c.denied {
			t.Errorf("%q, late %v, without exe %v: %v", c.params, c.late, c.missing, err)
		}
		unregister(t, &r, tm)
	}
}

// Memory ends at the cap.
func TestMemoryCap(t *testing.T) {
	o := parse(t, "hostile.c")
	for _, pages := range []int{4, 32, 256} {
		m := load(t, o, LoadOptions{Params: params("mode=8", "deadline=10s"), Memory: int64(pages) << 16, Synchronous: true})
		var r taskwatch.Registry
		tm := m.Watchers(0)
		register(t, &r, tm)
		if err := r.Feed().Notify(event(taskwatch.Exec)); err != nil {
			t.Fatal(err)
		}
		unregister(t, &r, tm)
		if got, want := global(t, m, "taken"), uint64(pages)-uint64(o.Memory()>>16); got != want {
			t.Errorf("of %d pages it took %v, want %d", pages, got, want)
		}
		if size := m.inst.memory.Size(); size != uint32(pages)<<16 {
			t.Errorf("its memory has %d bytes, want %d pages", size, pages)
		}
	}
}

// What a module emits and logs is limited by call and by second, and what is
// beyond is counted.
func TestFloods(t *testing.T) {
	o := parse(t, "hostile.c")
	var records, lines atomic.Int64
	m := hear(load(t, o, LoadOptions{Params: params("mode=10", "deadline=10s")}), func(data []byte) {
		if len(data) == 4096 {
			records.Add(1)
		}
	})
	var r taskwatch.Registry
	tm := m.Watchers(0)
	register(t, &r, tm)
	if err := r.Feed().Notify(event(taskwatch.Exec)); err != nil {
		t.Fatal(err)
	}
	unregister(t, &r, tm)
	s := m.Stats()
	if want := int64(emitsPerCall.records); records.Load() != want || s.Emitted != uint64(want) || s.EmitsDropped != uint64(1000-want) ||
		global(t, m, "taken") != uint64(want) {
		t.Errorf("%d records of 1000 arrived, want %d; %+v", records.Load(), want, s)
	}
	// A second's worth: calls as fast as they go. It may become another
	// second meanwhile, so what is checked is the sum.
	if err := r.Register(tm); err != nil {
		t.Fatal(err)
	}
	const calls = 200
	start := time.Now()
	for range calls {
		if err := r.Feed().Notify(event(taskwatch.Exec)); err != nil {
			t.Fatal(err)
		}
	}
	unregister(t, &r, tm)
	seconds := int(time.Since(start)/time.Second) + 2
	s = m.Stats()
	if s.Emitted+s.EmitsDropped != (calls+1)*1000 || int(s.Emitted)*4096 > seconds*emitsPerSecond.bytes {
		t.Errorf("%+v in %d seconds", s, seconds)
	}

	m = hear(load(t, o, LoadOptions{Params: params("mode=11")}), func([]byte) { t.Error("emitted") })
	tm = m.Watchers(0)
	register(t, &r, tm)
	if err := r.Feed().Notify(event(taskwatch.Exec)); err != nil {
		t.Fatal(err)
	}
	unregister(t, &r, tm)
	if s := m.Stats(); global(t, m, "taken") != uint64(0) || s.EmitsDropped != 1 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}

	m = load(t, o, LoadOptions{Params: params("mode=12"), Log: func(l slog.Level, text string) {
		if text == "flood" && l == slog.LevelInfo {
			lines.Add(1)
		}
	}})
	tm = m.Watchers(0)
	register(t, &r, tm)
	if err := r.Feed().Notify(event(taskwatch.Exec)); err != nil {
		t.Fatal(err)
	}
	unregister(t, &r, tm)
	if s := m.Stats(); lines.Load() != int64(logsPerCall.records) || s.LogsDropped != uint64(1000-logsPerCall.records) {
		t.Errorf("%d lines, %+v", lines.Load(), s)
	}
}

// A module that is slow, here because somebody is slow in reading what it
// emits, holds up nobody, and loses what its queue has no room for.
func TestSlowModule(t *testing.T) {
	const n, room = 1000, 16
	hold, holding := make(chan struct{}), make(chan struct{}, n)
	var log logged
	slow := load(t, parse(t, "mirror.c"), LoadOptions{Queue: room, Log: func(l slog.Level, text string) { log.add(l, text) }})
	hear(slow, func([]byte) { holding <- struct{}{}; <-hold })
	quick := load(t, parse(t, "hostile.c"), LoadOptions{})
	var r taskwatch.Registry
	before := bystander(t, &r)
	slowModule, quickModule := slow.Watchers(0), quick.Watchers(0)
	register(t, &r, slowModule)
	register(t, &r, quickModule)
	notify := func() {
		if err := r.Feed().Notify(event(taskwatch.Exit)); err != nil {
			t.Fatal(err)
		}
	}
	notify()
	<-holding
	for range n - 1 {
		notify()
	}
	// Nothing of it has waited for the slow one.
	if s := slow.Stats(); s.Calls != 1 || s.Queued != room || s.Drops != n-1-room {
		t.Errorf("%+v", s)
	}
	unregister(t, &r, quickModule)
	if got := global(t, quick, "counted"); got != uint64(n) || quick.Stats().Drops != 0 || before() != n {
		t.Errorf("the other modules were called %v and %d times, want %d", got, before(), n)
	}
	close(hold)
	unregister(t, &r, slowModule)
	if s := slow.Stats(); s.Calls != 1+room || s.Drops != n-1-room || s.Queued != 0 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(log.String(), fmt.Sprintf("WARN %d events dropped", n-1-room)) {
		t.Errorf("logged %s", &log)
	}
}

// Events come to a module in order, whichever way: those in place after those
// in its queue.
func TestOrder(t *testing.T) {
	var seqs []uint64
	m := load(t, parse(t, "order.c"), LoadOptions{})
	hear(m, func([]byte) { seqs = append(seqs, m.sandbox.host.event.event().Seq) })
	var r taskwatch.Registry
	tm := m.Watchers(taskwatch.KindsOf(taskwatch.Exec))
	register(t, &r, tm)
	const n = 3000
	for i := range n {
		ev := event([]taskwatch.Kind{taskwatch.Init, taskwatch.Clone, taskwatch.Exit, taskwatch.Exec}[i%4])
		ev.Seq = uint64(i)
		if err := r.Feed().Notify(ev); err != nil {
			t.Fatal(err)
		}
		if ev.Kind == taskwatch.Exec {
			m.mu.Lock()
			if len(seqs) != i+1 {
				t.Fatalf("after the exec that is event %d it has seen %d events", i, len(seqs))
			}
			m.mu.Unlock()
		}
	}
	unregister(t, &r, tm)
	for i, seq := range seqs {
		if seq != uint64(i) {
			t.Fatalf("event %d came as number %d", seq, i)
		}
	}
	if s := m.Stats(); len(seqs) != n || s.Drops != 0 {
		t.Errorf("%d events of %d, %+v", len(seqs), n, s)
	}
}

// After Unregister no watcher runs, and everything before was seen.
func TestUnregisterDrains(t *testing.T) {
	m := load(t, parse(t, "hostile.c"), LoadOptions{})
	var r taskwatch.Registry
	tm := m.Watchers(0)
	total := uint64(0)
	for round := range 20 {
		register(t, &r, tm)
		for range 500 {
			if err := r.Feed().Notify(event(taskwatch.Exit)); err != nil {
				t.Fatal(err)
			}
		}
		total += 500
		unregister(t, &r, tm)
		if s := m.Stats(); s.Calls != total || s.Queued != 0 || s.Drops != 0 {
			t.Fatalf("round %d: %+v, want %d calls", round, s, total)
		}
		if err := r.Feed().Notify(event(taskwatch.Exit)); err != nil {
			t.Fatal(err)
		}
		if s := m.Stats(); s.Calls != total {
			t.Fatalf("round %d: it was called after it was unregistered", round)
		}
	}
}

// A module of which too much waits is not waited for: the call that runs ends,
// and the rest is dropped.
func TestUnregisterGivesUp(t *testing.T) {
	defer func(d time.Duration) { drainTime = d }(drainTime)
	drainTime = 10 * time.Millisecond
	hold, holding := make(chan struct{}), make(chan struct{}, 1)
	m := hear(load(t, parse(t, "mirror.c"), LoadOptions{}), func([]byte) {
		select {
		case holding <- struct{}{}:
			<-hold
		default:
			time.Sleep(20 * time.Millisecond)
		}
	})
	var r taskwatch.Registry
	tm := m.Watchers(0)
	register(t, &r, tm)
	const n = 100
	for range n {
		if err := r.Feed().Notify(event(taskwatch.Exit)); err != nil {
			t.Fatal(err)
		}
	}
	<-holding
	done := make(chan error)
	go func() { done <- r.Unregister(tm) }()
	close(hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s := m.Stats()
	if s.Queued != 0 || s.Drops == 0 || s.Calls+s.Drops != n {
		t.Errorf("%+v, want calls and drops of %d events", s, n)
	}
	time.Sleep(5 * time.Millisecond)
	if again := m.Stats(); again.Calls != s.Calls {
		t.Errorf("%d calls after it was unregistered", again.Calls-s.Calls)
	}
}

// Where a veto is asked for while the queue takes too long, nobody waits on.
func TestVetoOfABusyModule(t *testing.T) {
	hold := make(chan struct{})
	held := sync.OnceFunc(func() { <-hold })
	m := hear(load(t, parse(t, "order.c"), LoadOptions{Deadline: 20 * time.Millisecond}), func([]byte) {
		held()
		time.Sleep(10 * time.Millisecond)
	})
	var r taskwatch.Registry
	tm := m.Watchers(taskwatch.KindsOf(taskwatch.Exec))
	register(t, &r, tm)
	const n = 50
	for range n {
		if err := r.Feed().Notify(event(taskwatch.Exit)); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() { done <- denying(&r).NotifyBefore(event(taskwatch.Exec)) }()
	close(hold)
	var we *taskwatch.Failure
	if err := <-done; !errors.As(err, &we) || !errors.Is(err, ErrDeadline) || we.Verdict != taskwatch.Counted || we.Watcher != "tell" {
		t.Errorf("got %v", err)
	}
	if s := m.Stats(); s.Drops != 1 || s.State != Running {
		t.Errorf("%+v", s)
	}
	unregister(t, &r, tm)
	if s := m.Stats(); s.Calls != n || s.Drops != 1 {
		t.Errorf("%+v", s)
	}
}

// Everything at once, under the race detector.
func TestHammer(t *testing.T) {
	o := parse(t, "hostile.c")
	var r taskwatch.Registry
	before := bystander(t, &r)
	m := load(t, o, LoadOptions{Params: params("mode=6", "every=50", "queue=64"), Log: func(slog.Level, string) {}, Feed: r.Feed()})
	var users, notifiers sync.WaitGroup
	var stop atomic.Bool
	const threads, each = 4, 2000
	for i := range threads {
		notifiers.Go(func() {
			ev := event(taskwatch.Exit)
			for n := range each {
				ev.Kind = []taskwatch.Kind{taskwatch.Exit, taskwatch.Exec, taskwatch.Clone}[(n+i)%3]
				_ = r.Feed().Notify(ev) // crashes of its own making
			}
		})
	}
	for _, fn := range []func(){
		func() { m.Stats() },
		func() { m.Globals(t.Context()) },
		func() {
			tm := m.Watchers(taskwatch.KindsOf(taskwatch.Exec))
			if err := r.Register(tm); err != nil {
				t.Error(err)
			}
			if err := r.Unregister(tm); err != nil {
				t.Error(err)
			}
		},
		func() {
			m, err := o.Load(LoadOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		},
		runtime.GC,
	} {
		users.Go(func() {
			for !stop.Load() {
				fn()
			}
		})
	}
	notifiers.Wait()
	stop.Store(true)
	users.Wait()
	if n := before(); n != threads*each {
		t.Errorf("the other module was called %d times, want %d", n, threads*each)
	}
	if s := m.Stats(); s.Queued != 0 {
		t.Errorf("%+v", s)
	}
}

// An event nobody in the module watches costs nothing, and one that is watched
// allocates nothing.
func TestAllocations(t *testing.T) {
	m := load(t, parse(t, "hostile.c"), LoadOptions{Queue: 256})
	var r taskwatch.Registry
	tm := m.Watchers(taskwatch.KindsOf(taskwatch.Exec))
	register(t, &r, tm)
	if got, want := r.Feed().Kinds(), taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit); got != want {
		t.Errorf("the registry has watchers on %v, want %v", got, want)
	}
	for _, k := range []taskwatch.Kind{taskwatch.Exec, taskwatch.Exit, taskwatch.Clone} {
		ev, feed := event(k), r.Feed()
		for range 10_000 { // the queue grows up to its size
			_ = feed.Notify(ev)
		}
		if n := testing.AllocsPerRun(1000, func() { _ = feed.Notify(ev) }); n != 0 {
			t.Errorf("%v: %v allocations an event", k, n)
		}
	}
}

func TestTimes(t *testing.T) {
	var h times
	if h.mean() != 0 || h.percentile(99) != 0 {
		t.Error("times before there are any")
	}
	for i := range 100 {
		h.add(time.Duration(i+1) * time.Microsecond)
	}
	within := func(got time.Duration, want time.Duration) bool { return got >= want && got <= want+want/8 }
	if h.mean() != 50500*time.Nanosecond || !within(h.percentile(99), 99*time.Microsecond) || !within(h.percentile(50), 50*time.Microsecond) {
		t.Errorf("mean %v, p50 %v, p99 %v", h.mean(), h.percentile(50), h.percentile(99))
	}
	for _, ns := range []uint64{1, 2, 3, 7, 8, 9, 15, 16, 17, 1000, 1 << 40, 1<<63 - 1} {
		if bin := binOf(ns); endOf(bin) < ns || bin > 0 && endOf(bin-1) > ns {
			t.Errorf("%d is in bin %d, which ends at %d", ns, bin, endOf(bin))
		}
	}
}

func TestLines(t *testing.T) {
	var got []string
	w := lineWriter{line: func(s string) { got = append(got, s) }}
	for _, s := range []string{"one\ntw", "o\n\n", strings.Repeat("x", maxLog+1), "\n", strings.Repeat("y", maxLog) + "\n", "rest"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	want := []string{"one", "two", strings.Repeat("x", maxLog) + "…", strings.Repeat("y", maxLog)}
	if strings.Join(got, "|") != strings.Join(want, "|") || !bytes.Equal(w.rest, []byte("rest")) {
		t.Errorf("got %q", got)
	}
}
