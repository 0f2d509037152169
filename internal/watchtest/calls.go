package watchtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/taskwatch/taskwatch"
)

// WatcherCall says that a watcher of one of the suite's modules was called.
type WatcherCall struct {
	Module  string // "" for the built-in
	Watcher int    // its place among the module's watchers of the kind, from 0
	Kind    taskwatch.Kind
	Val     uint64
}

func (c WatcherCall) String() string {
	return fmt.Sprintf("%s.%s%d(%#x)", orBuiltin(c.Module), c.Kind, c.Watcher, c.Val)
}

func (c WatcherCall) module() string { return c.Module }

// Failure is the error or the crash of a watcher that the registry reported.
type Failure struct {
	Module string // "" for the built-in
	Kind   taskwatch.Kind
	Errno  syscall.Errno // what the watcher returned, not negated
	Crash  bool          // it crashed, and returned nothing
	Veto   bool          // the error asks for a denial
}

func (r Failure) String() string {
	what := fmt.Sprintf("errno %d", r.Errno)
	if r.Crash {
		what = "a crash"
	}
	if r.Veto {
		what += ", a veto"
	}
	return fmt.Sprintf("{%s on %s: %s}", orBuiltin(r.Module), r.Kind, what)
}

func (r Failure) module() string { return r.Module }

func orBuiltin(module string) string {
	if module == "" {
		return "builtin"
	}
	return module
}

// failures counts those of a module.
type failures struct{ errors, crashes uint64 }

// CallLog collects what the watchers of a registry and the registry itself
// say, in order. Its methods may be called from any goroutine. Call may block:
// where a registry is said to report from inside its watchers, that keeps the
// watcher running.
type CallLog struct {
	mu       sync.Mutex // guards the fields below
	calls    []WatcherCall
	reported []Failure
	failed   map[string]failures // all that were ever reported, by module
	hold     func(WatcherCall)   // called with every call, without mu, if set
}

// Call adds a call.
func (l *CallLog) Call(c WatcherCall) {
	l.mu.Lock()
	l.calls = append(l.calls, c)
	hold := l.hold
	l.mu.Unlock()
	if hold != nil {
		hold(c)
	}
}

// Report adds a failure that was reported.
func (l *CallLog) Report(f Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reported = append(l.reported, f)
	if l.failed == nil {
		l.failed = map[string]failures{}
	}
	n := l.failed[f.Module]
	if f.Crash {
		n.crashes++
	} else {
		n.errors++
	}
	l.failed[f.Module] = n
}

// failures returns how many failures of the module were reported.
func (l *CallLog) failures(module string) failures {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed[module]
}

// forget starts the counts of failures anew.
func (l *CallLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.failed)
}

// setHold has fn called with every call from now on.
func (l *CallLog) setHold(fn func(WatcherCall)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = fn
}

// take empties the log and returns what it has of kind k.
func (l *CallLog) take(k taskwatch.Kind) (calls []WatcherCall, failures []Failure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls = slices.DeleteFunc(l.calls, func(c WatcherCall) bool { return c.Kind != k })
	failures = slices.DeleteFunc(l.reported, func(f Failure) bool { return f.Kind != k })
	l.calls, l.reported = nil, nil
	return calls, failures
}

// show writes a list in one line.
func show[T fmt.Stringer](list []T) string {
	if len(list) == 0 {
		return "nothing"
	}
	var words []string
	for _, e := range list {
		words = append(words, e.String())
	}
	return strings.Join(words, " ")
}
