package watchtest

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// HostedModule is a module of any kind in the form in which a
// taskwatch.Registry takes it.
type HostedModule struct {
	// Module is what is registered; nil where Err says why there is none,
	// for a module of the shape Broken.
	Module *taskwatch.Module
	Err    error

	// Count is what [RegistryModule] asks for.
	Count func() (own [taskwatch.NumKinds]uint64, ran uint64)

	// Settle, if set, returns when the module has dealt with every event
	// that it was notified of.
	Settle func()

	// Failures, if set, returns how many errors and crashes of its watchers
	// the module has counted itself, those that no registry sees included.
	Failures func() (errors, crashes uint64)
}

// Counts returns what Count does.
func (m *HostedModule) Counts() (own [taskwatch.NumKinds]uint64, ran uint64) { return m.Count() }

// NewHosted returns an instance over a new taskwatch.Registry, whose modules
// are made by mk. Its events are made up; they are denied as by a source that
// can deny all four kinds.
func NewHosted(t testing.TB, log *CallLog, mk func(reg *taskwatch.Registry, spec ModuleSpec) *HostedModule) RegistryInstance {
	reg := new(taskwatch.Registry)
	sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Failure != nil {
			log.reportFailure(it.Failure)
		}
	})
	if err := reg.Attach(sink); err != nil {
		t.Fatal(err)
	}
	return &hosted{t: t, log: log, reg: reg,
		make: func(spec ModuleSpec) *HostedModule { return mk(reg, spec) },
		feed: func() notifier {
			feed := reg.Feed()
			feed.Deny = decided | taskwatch.KindsOf(taskwatch.Init)
			return feed
		},
	}
}

// reportFailure adds a failure as a registry reports it.
func (l *CallLog) reportFailure(f *taskwatch.Failure) {
	r := Failure{Module: f.Module, Kind: f.Kind, Crash: f.Crash, Veto: f.Verdict == taskwatch.Denied || f.Verdict == taskwatch.Killed}
	if !r.Crash {
		errors.As(f.Err, &r.Errno)
	}
	l.Report(r)
}

// registrar is what the suite needs of a taskwatch.Registry.
type registrar interface {
	Register(*taskwatch.Module) error
	Unregister(*taskwatch.Module) error
	Modules() []taskwatch.ModuleInfo
}

// notifier is what it needs of a taskwatch.Feed.
type notifier interface {
	Notify(*taskwatch.Event) error
	NotifyBefore(*taskwatch.Event) error
	NotifyAfter(*taskwatch.Event) error
}

// hosted is an instance whose registry is in this process.
type hosted struct {
	t    testing.TB
	log  *CallLog
	make func(ModuleSpec) *HostedModule
	reg  registrar
	feed func() notifier

	mu   sync.Mutex // guards made
	made []*HostedModule
}

func (h *hosted) Make(spec ModuleSpec) RegistryModule {
	m := h.make(spec)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.made = append(h.made, m)
	return m
}

func (h *hosted) Register(m RegistryModule) error {
	if m == nil {
		return h.reg.Register(nil)
	}
	if mod := m.(*HostedModule); mod.Module == nil {
		return mod.Err
	}
	return h.reg.Register(m.(*HostedModule).Module)
}

func (h *hosted) Unregister(m RegistryModule) error {
	if m == nil {
		return h.reg.Unregister(nil)
	}
	mod := m.(*HostedModule).Module
	if mod == nil {
		mod = new(taskwatch.Module) // it is not registered either
	}
	return h.reg.Unregister(mod)
}

func (h *hosted) Modules() []taskwatch.ModuleInfo {
	list := h.reg.Modules()
	for i := range list {
		// The last one of the name that was made is the one that is registered:
		// the suite has two of a name only where none fails.
		for _, m := range h.modules() {
			if m.Module != nil && m.Module.Name == list[i].Name && m.Failures != nil {
				list[i].Errors, list[i].Panics = m.Failures()
			}
		}
	}
	return list
}

func (h *hosted) modules() []*HostedModule {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.made[:len(h.made):len(h.made)]
}

// Notify does what a source does that can deny.
func (h *hosted) Notify(k taskwatch.Kind) (uint64, error) {
	val := 1<<40 + uint64(k)
	ev := &taskwatch.Event{Kind: k, Val: val, Task: &taskwatch.Task{}}
	feed := h.feed()
	err := func() error {
		if !decided.Has(k) {
			return denial(feed.Notify(ev))
		}
		if err := denial(feed.NotifyBefore(ev)); err != nil {
			return err
		}
		return denial(feed.NotifyAfter(ev))
	}()
	for _, m := range h.modules() {
		if m.Settle != nil {
			m.Settle()
		}
	}
	return val, err
}

// denial returns an error if it is one that denies.
func denial(err error) error {
	if errno := taskwatch.Denial(err); errno != 0 {
		return errno
	}
	return nil
}

func (h *hosted) Storm() (end func() [taskwatch.NumKinds]uint64) {
	var counts [taskwatch.NumKinds]atomic.Uint64
	var stop atomic.Bool
	var all sync.WaitGroup
	first := h.modules()[0] // the one that stays: it must not miss anything
	for n := range 3 {
		all.Go(func() {
			feed := h.feed()
			for i := n; !stop.Load(); i++ {
				k := taskwatch.Kind(i % taskwatch.NumKinds)
				if err := feed.Notify(&taskwatch.Event{Kind: k, Task: &taskwatch.Task{}}); err != nil {
					h.t.Errorf("notify: %v", err)
				}
				counts[k].Add(1)
				runtime.Gosched()
				if i%50 == 0 && first.Settle != nil {
					first.Settle()
				}
			}
		})
	}
	return func() (total [taskwatch.NumKinds]uint64) {
		stop.Store(true)
		all.Wait()
		for k := range total {
			total[k] = counts[k].Load()
		}
		return total
	}
}
