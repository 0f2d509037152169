package taskwatch

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Watcher is a function called on one kind of event.
//
// The event and its task are borrowed: both may be read until the watcher
// returns, and neither may be changed. Watchers of different events may run
// at the same time on several goroutines; the events of one task come one at
// a time, in order.
//
// A nil error means nothing to report. An error is counted and reported with
// the module's name, and never keeps another watcher from being called. On
// Init, Exec, UID and GID it is a veto where the source can deliver one: the
// system call fails with the syscall.Errno that errors.As finds in it, or
// with EPERM. A panic counts as an error, and as no veto: code that crashes
// has decided nothing.
//
// A watcher may register modules, and gets [ErrInWatcher] from Unregister.
type Watcher func(ev *Event) error

// builtins are the watchers compiled into the program, in link order. They
// stand before the modules of every registry.
var builtins struct {
	mu    sync.Mutex // guards lists while they can still change
	lists [NumKinds][]watch
	fixed atomic.Bool // the first event was delivered: lists never change again
}

// Builtin adds a watcher that is compiled in: every [Registry] calls it
// before the watchers of any module, in the order of the Builtin calls, and
// it needs no registration. Options are those of [Module.Watch]. Call it from an
// init function, or from main before anything is watched.
//
// The built-ins are fixed once a registry has delivered its first event;
// Builtin panics after that, and on a nil watcher or an unknown kind, because
// each is a mistake in the program and not a condition of the machine.
func Builtin(k Kind, fn Watcher, options ...WatchOption) {
	if k >= NumKinds {
		panic("taskwatch: Builtin of unknown event " + k.String())
	}
	if fn == nil {
		panic("taskwatch: Builtin of a nil watcher on " + k.String())
	}
	builtins.mu.Lock()
	defer builtins.mu.Unlock()
	if builtins.fixed.Load() {
		panic("taskwatch: Builtin on " + k.String() + " after the first event was delivered; call it from an init function")
	}
	builtins.lists[k] = append(builtins.lists[k], newWatch(fn, options))
}

// builtin returns the compiled-in watchers as they are so far, as a stay of
// theirs. With fix they can not change any more.
func builtin(fix bool) *registration {
	builtins.mu.Lock()
	defer builtins.mu.Unlock()
	if fix {
		builtins.fixed.Store(true)
	}
	reg := new(registration)
	for k, list := range builtins.lists {
		reg.watches[k] = slices.Clip(list)
	}
	return reg
}
