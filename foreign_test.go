package taskwatch

import (
	"errors"
	"syscall"
	"testing"
)

// The error of a function that is not Go is reported as that function's own,
// and its crash like a panic.
func TestFailuresAreThoseOfTheForeignWatcher(t *testing.T) {
	trap := errors.New("trap")
	for _, c := range []struct {
		failure *Failure
		veto    bool
		errno   syscall.Errno
		watcher string
	}{
		{&Failure{Watcher: "deny", Err: syscall.EACCES}, true, syscall.EACCES, "deny"},
		{&Failure{Watcher: "deny", Err: trap, Crash: true}, false, 0, "deny"},
		{&Failure{Err: syscall.EACCES}, true, syscall.EACCES, "taskwatch.TestFailuresAreThoseOfTheForeignWatcher.func1"},
	} {
		var r Registry
		var told *WatcherError
		m := &Module{Name: "m", Table: on(Exec, func(*Event) error { return c.failure }), OnError: func(we *WatcherError) { told = we }}
		mustRegister(t, &r, m)
		var we *WatcherError
		if err := r.Notify(event(Exec)); !errors.As(err, &we) || told != we {
			t.Fatalf("returned %v, told %v", err, told)
		}
		if we.Watcher != c.watcher || we.Err != c.failure.Err || we.Veto != c.veto || (we.Panic != nil) != c.failure.Crash || we.Stack != nil {
			t.Errorf("%+v gave %+v", c.failure, we)
		}
		if c.veto && Errno(we) != c.errno {
			t.Errorf("%+v refuses with %v", c.failure, Errno(we))
		}
		info := r.Modules()[0]
		if crashes := map[bool]uint64{true: 1}[c.failure.Crash]; info.Panics != crashes || info.Errors != 1-crashes {
			t.Errorf("%+v was counted as %+v", c.failure, info)
		}
	}
}

// A module may observe some kinds and decide about others, each at its moment.
func TestModuleObservesSomeKinds(t *testing.T) {
	var c calls
	var r Registry
	refused := errors.New("refused")
	m := &Module{Name: "m", Observes: KindsOf(UID, Exit)}
	for _, k := range []Kind{Exec, UID, Exit} {
		m.Table[k] = []Watcher{c.watcher(k.String(), refused)}
	}
	mustRegister(t, &r, m)
	if got := r.VetoKinds(); got != KindsOf(Exec) {
		t.Errorf("before the first event, %v can be vetoed", got)
	}
	for k, want := range map[Kind]struct {
		before, after string
		veto          bool
	}{
		Exec: {"exec", "", true},
		UID:  {"", "uid", false},
		Exit: {"", "exit", false},
	} {
		var we *WatcherError
		err := r.NotifyBefore(event(k))
		before := c.take()
		err = errors.Join(err, r.NotifyAfter(event(k)))
		if after := c.take(); before != want.before || after != want.after || !errors.As(err, &we) || we.Veto != want.veto {
			t.Errorf("%s: called %q before and %q after, %+v", k, before, after, we)
		}
		if err := r.Notify(event(k)); c.take() != k.String() || !errors.As(err, &we) || we.Veto != want.veto {
			t.Errorf("%s: %+v", k, we)
		}
	}
	if got := r.VetoKinds(); got != KindsOf(Exec) || r.Kinds() != KindsOf(Exec, UID, Exit) {
		t.Errorf("%v can be vetoed, of %v", got, r.Kinds())
	}
}

// OnUnregister is called when no watcher runs any more, by the Unregister that
// has removed the module and by no other.
func TestOnUnregister(t *testing.T) {
	var r Registry
	entered, leave := make(chan struct{}), make(chan struct{})
	running, unregistered := false, 0
	m := &Module{Name: "m", Table: on(Exec, func(*Event) error {
		running = true
		close(entered)
		<-leave
		running = false
		return nil
	})}
	m.OnUnregister = func() {
		unregistered++
		if running || len(r.Modules()) != 0 {
			t.Errorf("a watcher is running: %v, registered: %+v", running, r.Modules())
		}
	}
	if err := r.Unregister(m); !errors.Is(err, ErrNotRegistered) || unregistered != 0 {
		t.Errorf("%v, and OnUnregister was called %d times", err, unregistered)
	}
	mustRegister(t, &r, m)
	notified := make(chan error)
	go func() { notified <- r.Notify(event(Exec)) }()
	<-entered
	done := make(chan error)
	go func() { done <- r.Unregister(m) }()
	close(leave)
	if err := <-done; err != nil || unregistered != 1 {
		t.Errorf("%v, and OnUnregister was called %d times", err, unregistered)
	}
	if err := <-notified; err != nil {
		t.Error(err)
	}
}
