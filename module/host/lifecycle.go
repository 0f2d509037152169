package host

import (
	"errors"
	"slices"
	"sync"

	"github.com/taskwatch/taskwatch/module/wasm"
)

// lifecycle starts and stops a module of any kind, one call at a time, and
// knows whether it is started.
type lifecycle struct {
	name                 string
	register, unregister func() error

	// place says where modules are registered that can take each other's place,
	// which takeOver does.
	place    any
	takeOver func(old *lifecycle) error
	listed   any          // what is registered there
	sandbox  *wasm.Module // that has state to hand over; nil for modules of other kinds

	mu      sync.Mutex
	started bool
}

func (l *lifecycle) Start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.register()
	l.started = l.started || err == nil
	return failure("start", l.name, err)
}

func (l *lifecycle) Stop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stop()
}

// replace starts the module in the place of old, which it stops.
func (l *lifecycle) replace(old *lifecycle) error {
	old.mu.Lock() // the new one is not known to others yet
	defer old.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.takeOver(old)
	if err == nil {
		old.started, l.started = false, true
	}
	return failure("replace", l.name, err)
}

func (l *lifecycle) base() *lifecycle { return l }

func (l *lifecycle) stop() error {
	err := l.unregister()
	l.started = l.started && err != nil
	return failure("stop", l.name, err)
}

// end stops the module if it is started, and frees it. Errors that are one of
// gone say that it was stopped already.
func (l *lifecycle) end(free func() error, gone ...error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var stopped error
	if l.started {
		stopped = l.stop()
		if slices.ContainsFunc(gone, func(g error) bool { return errors.Is(stopped, g) }) {
			stopped = nil
		}
	}
	return errors.Join(stopped, failure("close", l.name, free()))
}
