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
		var told *Failure
		mustRegister(t, &r, module("m", Exec, func(*Event) error { return c.failure }))
		if err := r.Attach(NewSink(nil, func(it Item) { told = it.Failure })); err != nil {
			t.Fatal(err)
		}
		var we *Failure
		if err := denying(&r).Notify(event(Exec)); !errors.As(err, &we) || told != we {
			t.Fatalf("returned %v, told %v", err, told)
		}
		if we.Watcher != c.watcher || we.Err != c.failure.Err || (we.Verdict == Denied) != c.veto || we.Crash != c.failure.Crash || we.Stack != nil || we == c.failure {
			t.Errorf("%+v gave %+v", c.failure, we)
		}
		if c.veto && Errno(we) != c.errno {
			t.Errorf("%+v denies with %v", c.failure, Errno(we))
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
	denied := errors.New("denied")
	m := &Module{Name: "m"}
	m.Watch(Exec, c.watcher("exec", denied))
	m.Watch(UID, c.watcher("uid", denied), Observe())
	m.Watch(Exit, c.watcher("exit", denied), Observe())
	mustRegister(t, &r, m)
	feed := denying(&r)
	if got := r.Feed().DenyKinds(); got != KindsOf(Exec) {
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
		var we *Failure
		err := feed.NotifyBefore(event(k))
		before := c.take()
		err = errors.Join(err, feed.NotifyAfter(event(k)))
		if after := c.take(); before != want.before || after != want.after || !errors.As(err, &we) || (we.Verdict == Denied) != want.veto {
			t.Errorf("%s: called %q before and %q after, %+v", k, before, after, we)
		}
		if err := feed.Notify(event(k)); c.take() != k.String() || !errors.As(err, &we) || (we.Verdict == Denied) != want.veto {
			t.Errorf("%s: %+v", k, we)
		}
	}
	if got := r.Feed().DenyKinds(); got != KindsOf(Exec) || r.Feed().Kinds() != KindsOf(Exec, UID, Exit) {
		t.Errorf("%v can be vetoed, of %v", got, r.Feed().Kinds())
	}
}

// OnUnregister is called when no watcher runs any more, by the Unregister that
// has removed the module and by no other.
func TestOnUnregister(t *testing.T) {
	var r Registry
	entered, leave := make(chan struct{}), make(chan struct{})
	running, unregistered := false, 0
	m := module("m", Exec, func(*Event) error {
		running = true
		close(entered)
		<-leave
		running = false
		return nil
	})
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
	go func() { notified <- r.Feed().Notify(event(Exec)) }()
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
