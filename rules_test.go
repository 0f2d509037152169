package taskwatch

import (
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
		&Module{Name: "z", Table: on(Clone, c.watcher("z1", nil), c.watcher("z2", errA))},
		&Module{Name: "a", Table: on(Clone, c.watcher("a1", errB), c.watcher("a2", nil))},
	)
	err := r.Notify(event(Clone))
	if got, want := c.take(), "builtin1 builtin2 z1 z2 a1 a2"; got != want {
		t.Errorf("called %s, want %s", got, want)
	}
	if !errors.Is(err, errA) || errors.Is(err, errB) {
		t.Errorf("the result is %v, want %v", err, errA)
	}
	if err := r.Notify(event(Exec)); err != nil || c.take() != "another event" {
		t.Errorf("exec: %v", err)
	}
	if err := r.Notify(event(Exit)); err != nil || len(c) != 0 {
		t.Errorf("an event that nobody watches: %v, called %v", err, c)
	}
}

// Among the errors of one event the first veto stands before what is none:
// the source must see it.
func TestRule1FirstVetoStandsBeforeErrorsThatAreNone(t *testing.T) {
	seen, refused, late := errors.New("seen"), errors.New("refused"), errors.New("late")
	var c calls
	var r Registry
	mustRegister(t, &r,
		&Module{Name: "crash", Table: on(Exec, func(*Event) error { panic("crash") })},
		&Module{Name: "observer", Observer: true, Table: on(Exec, c.watcher("observer", seen))},
		&Module{Name: "guard", Table: on(Exec, c.watcher("guard", refused))},
		&Module{Name: "guard2", Table: on(Exec, c.watcher("guard2", late))},
	)
	var we *WatcherError
	if err := r.Notify(event(Exec)); !errors.As(err, &we) || !we.Veto || we.Err != refused || we.Module != "guard" {
		t.Errorf("Notify returned %+v", err)
	}
	if err := r.NotifyBefore(event(Exec)); !errors.As(err, &we) || !we.Veto || we.Err != refused {
		t.Errorf("NotifyBefore returned %+v", err)
	}
	if err := r.NotifyAfter(event(Exec)); !errors.As(err, &we) || we.Veto || we.Err != seen {
		t.Errorf("NotifyAfter returned %+v", err)
	}
	if got, want := c.take(), "observer guard guard2 guard guard2 observer"; got != want {
		t.Errorf("called %s, want %s", got, want)
	}
	// Only these kinds can be refused at all.
	for k := range Kind(NumKinds) {
		var r Registry
		mustRegister(t, &r, &Module{Name: "guard", Table: on(k, c.watcher("", refused))})
		if err := r.Notify(event(k)); !errors.As(err, &we) || we.Veto != slices.Contains([]Kind{Init, Exec, UID, GID}, k) {
			t.Errorf("%s: %+v", k, err)
		}
	}
}

func TestRule2ModuleIsListedOnlyUnderItsEventsWithOneReferenceEach(t *testing.T) {
	var c calls
	var r Registry
	m := &Module{Name: "m"}
	m.Table[Init] = []Watcher{c.watcher("init", nil)}
	m.Table[Exit] = []Watcher{c.watcher("exit1", nil), c.watcher("exit2", nil), c.watcher("exit3", nil)}
	hooks := &Module{Name: "hooks", OnLost: func(Loss) { c = append(c, "lost") }}
	mustRegister(t, &r, m, hooks)
	want := []ModuleInfo{
		{Name: "m", Kinds: KindsOf(Init, Exit), References: 2},
		{Name: "hooks"},
	}
	for range 2 { // before and after the first event
		if got := r.Modules(); !slices.Equal(got, want) {
			t.Errorf("listed as %+v, want %+v", got, want)
		}
		if got := r.Kinds(); got != KindsOf(Init, Exit) {
			t.Errorf("Kinds: %s", got)
		}
		for k := range Kind(NumKinds) {
			called := map[Kind]string{Init: "init", Exit: "exit1 exit2 exit3"}[k]
			if err := r.Notify(event(k)); err != nil || r.Enabled(k) != (called != "") {
				t.Errorf("%s: %v", k, err)
			}
			if got := c.take(); got != called {
				t.Errorf("%s called %q, want %q", k, got, called)
			}
		}
	}
	if got := r.VetoKinds(); got != KindsOf(Init) {
		t.Errorf("VetoKinds: %s", got)
	}
}

func TestRule3RegisterIsAllOrNothing(t *testing.T) {
	var c calls
	good := c.watcher("good", nil)
	bad := &Module{Name: "bad"}
	bad.Table[Init] = []Watcher{good}
	bad.Table[Free] = []Watcher{good, nil}
	for _, m := range []*Module{
		bad,
		{Name: "", Table: on(Exec, good)},
		{Name: "empty"},
		{Name: "empty lists", Table: on(Exec, []Watcher{}...)},
	} {
		for range 2 {
			var r Registry
			err := r.Register(m)
			var me *ModuleError
			if !errors.Is(err, ErrInvalid) || !errors.As(err, &me) || me.Op != "register" || me.Module != m.Name {
				t.Errorf("module %q: %v", m.Name, err)
			}
			if len(r.Modules()) != 0 || r.Kinds() != 0 {
				t.Errorf("module %q: something stayed behind: %+v", m.Name, r.Modules())
			}
			for k := range Kind(NumKinds) {
				if err := r.Notify(event(k)); err != nil || len(c) != 0 {
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
	m := &Module{Name: "m", Table: on(Exec, c.watcher("m", nil))}
	namesake := &Module{Name: "m", Table: on(Exec, c.watcher("namesake", nil))}
	mustRegister(t, &r, m)
	for range 2 { // before and after the first event
		if err := r.Register(m); !errors.Is(err, ErrRegistered) {
			t.Errorf("twice: %v", err)
		}
		if err := r.Register(namesake); !errors.Is(err, ErrNameTaken) {
			t.Errorf("a second of that name: %v", err)
		}
		if err := r.Notify(event(Exec)); err != nil || c.take() != "m" {
			t.Errorf("notify: %v", err)
		}
	}
	mustRegister(t, &other, m) // registries know nothing of each other
	mustUnregister(t, &r, m)
	mustRegister(t, &r, namesake)
	if err := r.Notify(event(Exec)); err != nil || c.take() != "namesake" {
		t.Errorf("notify: %v", err)
	}
	if err := other.Notify(event(Exec)); err != nil || c.take() != "m" {
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
		if err := r.Notify(event(Exec)); err != nil {
			t.Error(err)
		}
	}
}

// What a module's owner does to the table after Register is no business of
// the registry's.
func TestRule3RegisterCopiesTheTable(t *testing.T) {
	var c calls
	var r Registry
	m := &Module{Name: "m", Table: on(Exec, c.watcher("old", nil))}
	mustRegister(t, &r, m)
	m.Table[Exec][0] = c.watcher("new", nil)
	m.Table[Exit] = m.Table[Exec]
	r.Notify(event(Exec))
	r.Notify(event(Exit))
	if got := c.take(); got != "old" {
		t.Errorf("called %q", got)
	}
}

func TestRule4UnregisterWaitsForRunningWatchers(t *testing.T) {
	for _, what := range []string{"Notify", "NotifyBefore", "NotifyAfter", "OnError", "OnLost"} {
		t.Run(what, func(t *testing.T) {
			var r Registry
			running, goOn := make(chan struct{}), make(chan struct{})
			var left bool // written by the watcher, read after Unregister: the race detector looks on
			wait := func() {
				running <- struct{}{}
				<-goOn
				for range 100 {
					runtime.Gosched()
				}
				left = true
			}
			m := &Module{Name: "m", Observer: what == "NotifyAfter"}
			other := &Module{Name: "other", Table: on(Exit, func(*Event) error { return errors.New("no") })}
			call := func() { r.Notify(event(Exit)) }
			switch what {
			case "OnError":
				m.OnError = func(*WatcherError) { wait() }
			case "OnLost":
				m.OnLost = func(Loss) { wait() }
				call = func() { r.NotifyLost(Loss{Count: 1}) }
			case "NotifyBefore":
				call = func() { r.NotifyBefore(event(Exit)) }
				m.Table = on(Exit, func(*Event) error { wait(); return nil })
			case "NotifyAfter":
				call = func() { r.NotifyAfter(event(Exit)) }
				m.Table = on(Exit, func(*Event) error { wait(); return nil })
			default:
				m.Table = on(Exit, func(*Event) error { wait(); return nil })
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
	m := &Module{Name: "m", Table: on(Exec, c.watcher("m", nil))}
	namesake := &Module{Name: "m", Table: on(Exec, c.watcher("namesake", nil))}
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
	if err := r.Notify(event(Exec)); err != nil || c.take() != "m" {
		t.Errorf("still registered, but: %v", err)
	}
	mustUnregister(t, &r, m)
	check(&r, m)
}

func TestRule4ModuleCanBeRegisteredAgain(t *testing.T) {
	var c calls
	var r Registry
	fail := errors.New("no")
	first := &Module{Name: "first", Table: on(Exec, c.watcher("first", fail))}
	m := &Module{Name: "m", Table: on(Exec, c.watcher("m", nil))}
	mustRegister(t, &r, first, m)
	for i, want := range []string{"first m", "m first", "first m"} {
		if err := r.Notify(event(Exec)); !errors.Is(err, fail) {
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
	var m, hooks *Module
	foreign := &Module{Name: "foreign", OnLost: func(Loss) {}}
	mustRegister(t, &other, foreign)
	var tried int
	try := func() {
		for _, c := range []struct {
			r *Registry
			m *Module
		}{{&r, m}, {&r, hooks}, {&other, foreign}} {
			tried++
			var me *ModuleError
			if err := c.r.Unregister(c.m); !errors.Is(err, ErrInWatcher) || !errors.As(err, &me) || me.Module != c.m.Name {
				t.Errorf("%s: %v", c.m.Name, err)
			}
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
		return errors.New("so that OnError is called")
	}
	m = &Module{Name: "m", Table: on(Exec, watch)}
	observer := &Module{Name: "observer", Observer: true, Table: on(Exec, watch)}
	hooks = &Module{Name: "hooks", OnLost: func(Loss) { try() }, OnError: func(*WatcherError) { try() }}
	mustRegister(t, &r, m, observer, hooks)
	for val := range uint64(2) {
		ev := &Event{Kind: Exec, Val: val, Task: &Task{}}
		r.Notify(ev)
		r.NotifyBefore(ev)
		r.NotifyAfter(ev)
	}
	r.NotifyLost(Loss{})
	// 8 calls of watchers try 3 times and have their error tell the hook.
	if want := (8*(3+1) + 1) * 3; tried != want {
		t.Errorf("tried %d times, want %d", tried, want)
	}
	if len(r.Modules()) != 3 || len(other.Modules()) != 1 {
		t.Errorf("left: %+v %+v", r.Modules(), other.Modules())
	}
	// Outside, also right after on the same goroutine, it works.
	mustUnregister(t, &r, m, observer, hooks)
	mustUnregister(t, &other, foreign)
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
	m = &Module{Name: "m", Table: on(Exec, func(*Event) error {
		go func() { done <- r.Unregister(m) }()
		return nil
	})}
	mustRegister(t, &r, m)
	r.Notify(event(Exec))
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
		for _, notify := range []func(*Event) error{r.Notify, r.NotifyBefore, r.NotifyAfter} {
			if err := notify(event(k)); err != nil {
				t.Errorf("%s: %v", k, err)
			}
			lateBuiltin()
		}
		if r.Enabled(k) {
			t.Errorf("%s is enabled", k)
		}
	}
	r.NotifyLost(Loss{Count: 1})
	var c calls
	mustRegister(t, &r, &Module{Name: "m", Table: on(Exec, c.watcher("m", nil))})
	if err := r.Notify(event(Exec)); err != nil || c.take() != "m" {
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
			r.Notify(event(Exec))
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
	var reported []*WatcherError
	mustRegister(t, &r,
		&Module{Name: "before", Table: on(Exec, c.watcher("before", nil))},
		&Module{Name: "crash", Table: on(Exec, c.watcher("crash1", nil), func(*Event) error {
			c = append(c, "crash2")
			panic(boom)
		}, c.watcher("crash3", nil))},
		&Module{Name: "behind", Table: on(Exec, c.watcher("behind", nil))},
		&Module{Name: "hook", OnError: func(we *WatcherError) { reported = append(reported, we) }},
	)
	ev := event(Exec)
	err := r.Notify(ev)
	if got, want := c.take(), "before crash1 crash2 crash3 behind"; got != want {
		t.Errorf("called %s, want %s", got, want)
	}
	var we *WatcherError
	if !errors.As(err, &we) {
		t.Fatalf("the result is %v", err)
	}
	if we.Module != "crash" || we.Panic != boom || we.Veto || we.Kind != Exec || we.Event != ev {
		t.Errorf("reported as %+v", we)
	}
	if !strings.Contains(we.Watcher, "TestRule6") || !strings.Contains(string(we.Stack), "TestRule6") {
		t.Errorf("the watcher is named %s; its stack:\n%s", we.Watcher, we.Stack)
	}
	if !slices.Equal(reported, []*WatcherError{we}) {
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
	refused := func(k Kind, fn Watcher) (text string) {
		defer func() {
			if p := recover(); p != nil {
				text = p.(string)
			}
		}()
		Builtin(k, fn)
		return ""
	}
	var c calls
	if got := refused(NumKinds, c.watcher("", nil)); !strings.Contains(got, "unknown event kind(7)") {
		t.Errorf("an unknown kind: %q", got)
	}
	if got := refused(Exec, nil); !strings.Contains(got, "nil watcher on exec") {
		t.Errorf("a nil watcher: %q", got)
	}
	Builtin(Exec, c.watcher("one", nil))
	var r, other Registry
	if !r.Enabled(Exec) || r.Enabled(Exit) || r.VetoKinds() != KindsOf(Exec) {
		t.Errorf("watched: %s, vetoable: %s", r.Kinds(), r.VetoKinds())
	}
	Builtin(Exec, c.watcher("two", nil)) // looking at a registry delivers nothing
	r.Notify(event(Exit))                // and this does, though nobody watches
	if got := refused(Exec, c.watcher("three", nil)); !strings.Contains(got, "exec after the first event") {
		t.Errorf("late: %q", got)
	}
	for _, r := range []*Registry{&r, &other} {
		if err := r.Notify(event(Exec)); err != nil || c.take() != "one two" {
			t.Errorf("notify: %v", err)
		}
	}
}
