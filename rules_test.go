package taskwatch

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// The rules of the contract between registry, modules and sources, each with
// a test named after it. The rule on licences belongs to kernel modules and
// is tested there.

func TestRule1NotifyCallsAllAndReturnsFirstError(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	errA, errB := errors.New("a failed"), errors.New("b failed")
	var c calls
	Builtin(Clone, c.watcher("builtin1", nil))
	Builtin(Clone, c.watcher("builtin2", nil))
	Builtin(Exec, c.watcher("another event", nil))
	var r Registry
	mustRegister(t, &r,
		module("z", Clone, c.watcher("z1", nil), c.watcher("z2", errA)),
		module("a", Clone, c.watcher("a1", errB), c.watcher("a2", nil)),
	)
	err := r.Feed().Notify(event(Clone))
	if got, want := c.take(), "builtin1 builtin2 z1 z2 a1 a2"; got != want {
		t.Errorf("called %s, want %s", got, want)
	}
	if !errors.Is(err, errA) || errors.Is(err, errB) {
		t.Errorf("the result is %v, want %v", err, errA)
	}
	if err := r.Feed().Notify(event(Exec)); err != nil || c.take() != "another event" {
		t.Errorf("exec: %v", err)
	}
	if err := r.Feed().Notify(event(Exit)); err != nil || len(c) != 0 {
		t.Errorf("an event that nobody watches: %v, called %v", err, c)
	}
}

// Among the errors of one event the first veto stands before what is none:
// the source must see it.
func TestRule1FirstVetoStandsBeforeErrorsThatAreNone(t *testing.T) {
	seen, denied, late := errors.New("seen"), errors.New("denied"), errors.New("late")
	var c calls
	var r Registry
	mustRegister(t, &r,
		module("crash", Exec, func(*Event) error { panic("crash") }),
		observing("observer", Exec, c.watcher("observer", seen)),
		module("guard", Exec, c.watcher("guard", denied)),
		module("guard2", Exec, c.watcher("guard2", late)),
	)
	var we *Failure
	feed := denying(&r)
	if err := feed.Notify(event(Exec)); !errors.As(err, &we) || we.Verdict != Denied || we.Err != denied || we.Module != "guard" {
		t.Errorf("Notify returned %+v", err)
	}
	if err := feed.NotifyBefore(event(Exec)); !errors.As(err, &we) || we.Verdict != Denied || we.Err != denied {
		t.Errorf("NotifyBefore returned %+v", err)
	}
	if err := feed.NotifyAfter(event(Exec)); !errors.As(err, &we) || we.Verdict != Counted || we.Err != seen {
		t.Errorf("NotifyAfter returned %+v", err)
	}
	if got, want := c.take(), "observer guard guard2 guard guard2 observer"; got != want {
		t.Errorf("called %s, want %s", got, want)
	}
	// Only these kinds can be denied at all.
	for k := range Kind(NumKinds) {
		var r Registry
		mustRegister(t, &r, module("guard", k, c.watcher("", denied)))
		if err := denying(&r).Notify(event(k)); !errors.As(err, &we) || (we.Verdict == Denied) != slices.Contains([]Kind{Init, Exec, UID, GID}, k) {
			t.Errorf("%s: %+v", k, err)
		}
	}
}

func TestRule2ModuleIsListedOnlyUnderItsEventsWithOneReferenceEach(t *testing.T) {
	var c calls
	var r Registry
	m := &Module{Name: "m"}
	m.Watch(Init, c.watcher("init", nil))
	for _, name := range []string{"exit1", "exit2", "exit3"} {
		m.Watch(Exit, c.watcher(name, nil))
	}
	mustRegister(t, &r, m)
	want := []ModuleInfo{
		{Name: "m", Kinds: KindsOf(Init, Exit), References: 2},
	}
	for range 2 { // before and after the first event
		if got := r.Modules(); !slices.Equal(got, want) {
			t.Errorf("listed as %+v, want %+v", got, want)
		}
		if got := r.Feed().Kinds(); got != KindsOf(Init, Exit) {
			t.Errorf("Kinds: %s", got)
		}
		for k := range Kind(NumKinds) {
			called := map[Kind]string{Init: "init", Exit: "exit1 exit2 exit3"}[k]
			if err := r.Feed().Notify(event(k)); err != nil || r.Feed().Enabled(k) != (called != "") {
				t.Errorf("%s: %v", k, err)
			}
			if got := c.take(); got != called {
				t.Errorf("%s called %q, want %q", k, got, called)
			}
		}
	}
	if got := r.Feed().DenyKinds(); got != KindsOf(Init) {
		t.Errorf("VetoKinds: %s", got)
	}
}

func TestRule3RegisterIsAllOrNothing(t *testing.T) {
	var c calls
	good := c.watcher("good", nil)
	bad := &Module{Name: "bad"}
	bad.Watch(Init, good)
	bad.Watch(Free, good)
	bad.Watch(Free, nil)
	unknown := &Module{Name: "unknown"}
	unknown.Watch(NumLists, good)
	for _, m := range []*Module{
		bad,
		module("", Exec, good),
		{Name: "empty"},
		unknown,
		module("empty lists", Exec, []Watcher{}...),
	} {
		for range 2 {
			var r Registry
			err := r.Register(m)
			var me *ModuleError
			if !errors.Is(err, ErrInvalid) || !errors.As(err, &me) || me.Op != "register" || me.Module != m.Name {
				t.Errorf("module %q: %v", m.Name, err)
			}
			if len(r.Modules()) != 0 || r.Feed().Kinds() != 0 {
				t.Errorf("module %q: something stayed behind: %+v", m.Name, r.Modules())
			}
			for k := range Kind(NumKinds) {
				if err := r.Feed().Notify(event(k)); err != nil || len(c) != 0 {
					t.Errorf("module %q, %s: %v, called %s", m.Name, k, err, c.take())
				}
			}
			if err := r.Unregister(m); !errors.Is(err, ErrNotRegistered) {
				t.Errorf("module %q: %v", m.Name, err)
			}
		}
	}
	if err := new(Registry).Register(bad); !strings.Contains(err.Error(), "watcher 1 on free is nil") {
		t.Errorf("the error does not name the nil watcher: %v", err)
	}
}

func TestRule3RegisteringTwiceIsAnError(t *testing.T) {
	var c calls
	var r, other Registry
	m := module("m", Exec, c.watcher("m", nil))
	namesake := module("m", Exec, c.watcher("namesake", nil))
	mustRegister(t, &r, m)
	for range 2 { // before and after the first event
		if err := r.Register(m); !errors.Is(err, ErrRegistered) {
			t.Errorf("twice: %v", err)
		}
		if err := r.Register(namesake); !errors.Is(err, ErrNameTaken) {
			t.Errorf("a second of that name: %v", err)
		}
		if err := r.Feed().Notify(event(Exec)); err != nil || c.take() != "m" {
			t.Errorf("notify: %v", err)
		}
	}
	mustRegister(t, &other, m) // registries know nothing of each other
	mustUnregister(t, &r, m)
	mustRegister(t, &r, namesake)
	if err := r.Feed().Notify(event(Exec)); err != nil || c.take() != "namesake" {
		t.Errorf("notify: %v", err)
	}
	if err := other.Feed().Notify(event(Exec)); err != nil || c.take() != "m" {
		t.Errorf("notify in the other registry: %v", err)
	}
}

func TestRule3NilIsTheBuiltInCase(t *testing.T) {
	var r Registry
	for range 2 {
		if err := r.Register(nil); err != nil {
			t.Error(err)
		}
		if err := r.Unregister(nil); err != nil {
			t.Error(err)
		}
		if len(r.Modules()) != 0 {
			t.Errorf("listed: %+v", r.Modules())
		}
		if err := r.Feed().Notify(event(Exec)); err != nil {
			t.Error(err)
		}
	}
}

// What a module's owner does to the table after Register is no business of
// the registry's.
func TestRule3RegisterCopiesTheTable(t *testing.T) {
	var c calls
	var r Registry
	m := module("m", Exec, c.watcher("old", nil))
	mustRegister(t, &r, m)
	m.Watch(Exec, c.watcher("new", nil))
	m.Watch(Exit, c.watcher("new", nil))
	r.Feed().Notify(event(Exec))
	r.Feed().Notify(event(Exit))
	if got := c.take(); got != "old" {
		t.Errorf("called %q", got)
	}
}

func TestRule4UnregisterWaitsForRunningWatchers(t *testing.T) {
	for _, what := range []string{"Notify", "NotifyBefore", "NotifyAfter"} {
		t.Run(what, func(t *testing.T) {
			var r Registry
			running, goOn := make(chan struct{}), make(chan struct{})
			var left bool // written by the watcher, read after Unregister: the race detector looks on
			wait := func(*Event) error {
				running <- struct{}{}
				<-goOn
				for range 100 {
					runtime.Gosched()
				}
				left = true
				return nil
			}
			m := module("m", Exit, wait)
			other := module("other", Exit, func(*Event) error { return errors.New("no") })
			call := func() { r.Feed().Notify(event(Exit)) }
			switch what {
			case "NotifyBefore":
				call = func() { r.Feed().NotifyBefore(event(Exit)) }
			case "NotifyAfter":
				call = func() { r.Feed().NotifyAfter(event(Exit)) }
				m = observing("m", Exit, wait)
			}
			mustRegister(t, &r, other)
			for range 100 {
				mustRegister(t, &r, m)
				left = false
				var notifier sync.WaitGroup
				notifier.Go(call)
				<-running
				go func() {
					for len(r.Modules()) == 2 { // until Unregister has begun to wait
						runtime.Gosched()
					}
					close(goOn)
				}()
				if err := r.Unregister(m); err != nil {
					t.Fatal(err)
				}
				if !left {
					t.Fatal("Unregister returned while the module was running")
				}
				notifier.Wait()
				goOn = make(chan struct{})
			}
		})
	}
}

func TestRule4UnregisterWhatIsNotRegistered(t *testing.T) {
	var c calls
	var r, other Registry
	m := module("m", Exec, c.watcher("m", nil))
	namesake := module("m", Exec, c.watcher("namesake", nil))
	check := func(r *Registry, m *Module) {
		t.Helper()
		var me *ModuleError
		if err := r.Unregister(m); !errors.Is(err, ErrNotRegistered) || !errors.As(err, &me) || me.Op != "unregister" || me.Module != "m" {
			t.Errorf("%v", err)
		}
	}
	check(&r, m)
	mustRegister(t, &r, m)
	check(&r, namesake) // a module is its address, not its name
	check(&other, m)
	if err := r.Feed().Notify(event(Exec)); err != nil || c.take() != "m" {
		t.Errorf("still registered, but: %v", err)
	}
	mustUnregister(t, &r, m)
	check(&r, m)
}

func TestRule4ModuleCanBeRegisteredAgain(t *testing.T) {
	var c calls
	var r Registry
	fail := errors.New("no")
	first := module("first", Exec, c.watcher("first", fail))
	m := module("m", Exec, c.watcher("m", nil))
	mustRegister(t, &r, first, m)
	for i, want := range []string{"first m", "m first", "first m"} {
		if err := r.Feed().Notify(event(Exec)); !errors.Is(err, fail) {
			t.Error(err)
		}
		if got := c.take(); got != want {
			t.Errorf("round %d called %q, want %q: the order is that of registration", i, got, want)
		}
		again := []*Module{first, m, first}[i]
		mustUnregister(t, &r, again)
		mustRegister(t, &r, again)
	}
	// Counts are of one stay.
	if got := r.Modules(); got[0].Name != "m" || got[1] != (ModuleInfo{Name: "first", Kinds: KindsOf(Exec), References: 1}) {
		t.Errorf("listed: %+v", got)
	}
}

func TestRule4UnregisterFromInsideAWatcherIsAnError(t *testing.T) {
	var r, other Registry
	var m *Module
	foreign := module("foreign", Exit, func(*Event) error { return nil })
	mustRegister(t, &other, foreign)
	var sink, late Sink
	late = NewSink(nil, func(Item) {})
	var tried int
	try := func() {
		for _, c := range []struct {
			r *Registry
			m *Module
		}{{&r, m}, {&other, foreign}} {
			tried++
			var me *ModuleError
			if err := c.r.Unregister(c.m); !errors.Is(err, ErrInWatcher) || !errors.As(err, &me) || me.Module != c.m.Name {
				t.Errorf("%s: %v", c.m.Name, err)
			}
		}
		if err := r.Detach(context.Background(), sink); !errors.Is(err, ErrInWatcher) {
			t.Errorf("detach: %v", err)
		}
		if err := r.Attach(late); !errors.Is(err, ErrInWatcher) {
			t.Errorf("attach: %v", err)
		}
		if err := r.Unregister(nil); err != nil { // nothing to wait for
			t.Error(err)
		}
	}
	watch := func(ev *Event) error {
		try()
		func() { // how deep, and deferred or not, makes no difference
			defer try()
			deep(100, try)
		}()
		if ev.Kind == Exec && ev.Val == 1 {
			panic("crash")
		}
		return errors.New("so that something is reported")
	}
	m = module("m", Exec, watch)
	watching := observing("observer", Exec, watch)
	sink = NewSink(nil, func(Item) { try() })
	mustRegister(t, &r, m, watching)
	if err := r.Attach(sink); err != nil {
		t.Fatal(err)
	}
	for val := range uint64(2) {
		ev := &Event{Kind: Exec, Val: val, Task: &Task{}}
		feed := r.Feed()
		feed.Notify(ev)
		feed.NotifyBefore(ev)
		feed.NotifyAfter(ev)
	}
	r.Feed().Deliver(Item{Loss: &Loss{}})
	// 8 calls of watchers try 3 times and have their failure given to the sink.
	if want := (8*(3+1) + 1) * 2; tried != want {
		t.Errorf("tried %d times, want %d", tried, want)
	}
	if len(r.Modules()) != 2 || len(other.Modules()) != 1 {
		t.Errorf("left: %+v %+v", r.Modules(), other.Modules())
	}
	// Outside, also right after on the same goroutine, it works.
	mustUnregister(t, &r, m, watching)
	mustUnregister(t, &other, foreign)
	if err := r.Detach(context.Background(), sink); err != nil {
		t.Error(err)
	}
}

func deep(n int, fn func()) {
	if n == 0 {
		fn()
		return
	}
	deep(n-1, fn)
	runtime.KeepAlive(n)
}

// A watcher may have another goroutine unregister its module, as long as it
// does not wait for it.
func TestRule4UnregisterByAGoroutineOfTheWatcher(t *testing.T) {
	var r Registry
	done := make(chan error, 1)
	var m *Module
	m = module("m", Exec, func(*Event) error {
		go func() { done <- r.Unregister(m) }()
		return nil
	})
	mustRegister(t, &r, m)
	r.Feed().Notify(event(Exec))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if len(r.Modules()) != 0 {
		t.Errorf("left: %+v", r.Modules())
	}
}

func TestRule5NotifyIsSafeBeforeAnythingIsRegistered(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	var r Registry
	lateBuiltin := func() {
		defer func() {
			if recover() == nil {
				t.Error("a built-in was added after the first event")
			}
		}()
		Builtin(Exec, func(*Event) error { return nil })
	}
	for k := range Kind(NumKinds) {
		for _, notify := range []func(*Event) error{r.Feed().Notify, r.Feed().NotifyBefore, r.Feed().NotifyAfter} {
			if err := notify(event(k)); err != nil {
				t.Errorf("%s: %v", k, err)
			}
			lateBuiltin()
		}
		if r.Feed().Enabled(k) {
			t.Errorf("%s is enabled", k)
		}
	}
	r.Feed().Deliver(Item{Loss: &Loss{Count: 1}})
	var c calls
	mustRegister(t, &r, module("m", Exec, c.watcher("m", nil)))
	if err := r.Feed().Notify(event(Exec)); err != nil || c.take() != "m" {
		t.Errorf("a module that came later is not called: %v", err)
	}
}

// Built-ins being set up while the first events come: each either is in time
// and then called by every registry, or panics; and nothing else happens.
func TestRule5NotifyIsSafeWhileBuiltInsAreSetUp(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	var r Registry
	var inTime, called atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	all.Go(func() {
		<-start
		defer func() {
			if p := recover(); p != nil && !strings.Contains(p.(string), "after the first event") {
				t.Error(p)
			}
		}()
		for {
			Builtin(Exec, func(*Event) error { called.Add(1); return nil })
			inTime.Add(1)
		}
	})
	for range 3 {
		all.Go(func() {
			<-start
			runtime.Gosched()
			r.Feed().Notify(event(Exec))
		})
	}
	close(start)
	all.Wait()
	if got, want := called.Load(), 3*inTime.Load(); got != want {
		t.Errorf("%d calls by 3 notifications of %d built-ins", got, inTime.Load())
	}
}

func TestRule6CrashIsAnErrorOfThatWatcherOnly(t *testing.T) {
	var c calls
	var r Registry
	boom := errors.New("boom")
	var reported []*Failure
	mustRegister(t, &r,
		module("before", Exec, c.watcher("before", nil)),
		module("crash", Exec, c.watcher("crash1", nil), func(*Event) error {
			c = append(c, "crash2")
			panic(boom)
		}, c.watcher("crash3", nil)),
		module("behind", Exec, c.watcher("behind", nil)),
	)
	if err := r.Attach(NewSink(nil, func(it Item) { reported = append(reported, it.Failure) })); err != nil {
		t.Fatal(err)
	}
	ev := event(Exec)
	err := r.Feed().Notify(ev)
	if got, want := c.take(), "before crash1 crash2 crash3 behind"; got != want {
		t.Errorf("called %s, want %s", got, want)
	}
	var we *Failure
	if !errors.As(err, &we) {
		t.Fatalf("the result is %v", err)
	}
	if we.Module != "crash" || we.Panic != boom || !we.Crash || we.Verdict != Counted || we.Kind != Exec || we.Event != ev {
		t.Errorf("reported as %+v", we)
	}
	if !strings.Contains(we.Watcher, "TestRule6") || !strings.Contains(string(we.Stack), "TestRule6") {
		t.Errorf("the watcher is named %s; its stack:\n%s", we.Watcher, we.Stack)
	}
	if !slices.Equal(reported, []*Failure{we}) {
		t.Errorf("reported %v", reported)
	}
	for _, info := range r.Modules() {
		if want := map[string]uint64{"crash": 1}[info.Name]; info.Panics != want || info.Errors != 0 {
			t.Errorf("counted as %+v", info)
		}
	}
}

func TestRule7BuiltInsAreReadOnlyOnceAnEventWasDelivered(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	rejected := func(k Kind, fn Watcher) (text string) {
		defer func() {
			if p := recover(); p != nil {
				text = p.(string)
			}
		}()
		Builtin(k, fn)
		return ""
	}
	var c calls
	if got := rejected(NumLists, c.watcher("", nil)); !strings.Contains(got, "unknown event kind(9)") {
		t.Errorf("an unknown kind: %q", got)
	}
	if got := rejected(Attach, c.watcher("", nil)); !strings.Contains(got, "unknown event attach") {
		t.Errorf("what is no kind: %q", got)
	}
	if got := rejected(Exec, nil); !strings.Contains(got, "nil watcher on exec") {
		t.Errorf("a nil watcher: %q", got)
	}
	Builtin(Exec, c.watcher("one", nil))
	var r, other Registry
	if !r.Feed().Enabled(Exec) || r.Feed().Enabled(Exit) || r.Feed().DenyKinds() != KindsOf(Exec) {
		t.Errorf("watched: %s, vetoable: %s", r.Feed().Kinds(), r.Feed().DenyKinds())
	}
	Builtin(Exec, c.watcher("two", nil)) // looking at a registry delivers nothing
	r.Feed().Notify(event(Exit))         // and this does, though nobody watches
	if got := rejected(Exec, c.watcher("three", nil)); !strings.Contains(got, "exec after the first event") {
		t.Errorf("late: %q", got)
	}
	for _, r := range []*Registry{&r, &other} {
		if err := r.Feed().Notify(event(Exec)); err != nil || c.take() != "one two" {
			t.Errorf("notify: %v", err)
		}
	}
}
