package watchtest

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// RegistryConfig says how the suite gets at the registry under test.
type RegistryConfig struct {
	// New makes a registry that holds nothing but a built-in, if there is
	// one. Every call and every reported error goes to the log. What it
	// holds is released by t.Cleanup; modules may still be registered then.
	New func(t testing.TB, log *CallLog) RegistryInstance

	// Kinds are the events that the instance can cause, each exactly once
	// and never lost.
	Kinds taskwatch.Kinds

	// Veto are those of Kinds that a watcher's error denies.
	Veto taskwatch.Kinds

	// Queued says that a module has events from a queue of its own, but for
	// those that it may deny: nothing is promised of the order between
	// modules then.
	Queued bool

	// Builtin says that a built-in stands before all modules: one watcher on
	// every kind, which never fails.
	Builtin bool

	// Crash says that a watcher can crash; Crashes how often one module may
	// before it is called no more, where that is so.
	Crash   bool
	Crashes int

	// Inside says that the log is called from inside the watchers, in this
	// process: while CallLog.Call does not return, the watcher runs.
	Inside bool

	// Short runs only the cases that depend most on the kernel: for many
	// kernels in little time. The test's log says so.
	Short bool

	// Stays is how often a module comes and goes in the storm; 0 stands for
	// 200.
	Stays int
}

// RegistryInstance is a registry under test.
type RegistryInstance interface {
	// Make makes a module; it fails the test if it cannot. One of the shape
	// Broken may also fail later, in Register.
	Make(ModuleSpec) RegistryModule

	// Register and Unregister are those of the registry. The module is one
	// of Make's, or nil.
	Register(RegistryModule) error
	Unregister(RegistryModule) error

	// Modules lists what is registered, without the built-in.
	Modules() []taskwatch.ModuleInfo

	// Notify causes one event of kind k, and returns once its watchers have
	// been called and the log has it all. val is what the watchers must have
	// been given. err is what the operation failed with because it was
	// denied; the errno in it counts. Events of other kinds may happen too.
	Notify(k taskwatch.Kind) (val uint64, err error)

	// Storm has events happen at a high rate until end is called, which says
	// how many of each kind there were. They are not logged. No watcher
	// fails meanwhile.
	Storm() (end func() [taskwatch.NumKinds]uint64)
}

// RegistryModule is a module made for an instance.
type RegistryModule interface {
	// Counts returns how often the first watcher of each kind was called for
	// the events of Notify and Storm, and how often any watcher was called
	// for any event at all. It works whether the module is registered or
	// not.
	Counts() (own [taskwatch.NumKinds]uint64, ran uint64)
}

// ModuleShape says what watchers a module has.
type ModuleShape string

// The shapes that the suite needs. They are there as C files, to be built for
// the kernel and for the sandbox, in testdata/modules of this package: each
// shape's file is called conform_SHAPE.c.
const (
	// Observer has two watchers on every kind, and denies nothing.
	Observer ModuleShape = "observer"
	// Guard is the same, and its errors on init, exec, uid and gid deny.
	Guard ModuleShape = "guard"
	// Few has one watcher on init and three on exit, and denies nothing.
	Few ModuleShape = "few"
	// Broken is Few, with one more watcher on exit that the registry cannot
	// take, whatever that is with its kind of module.
	Broken ModuleShape = "broken"
)

// watchers returns how many watchers a module of the shape has on a kind.
func (s ModuleShape) watchers(k taskwatch.Kind) int {
	switch {
	case s == Observer || s == Guard:
		return 2
	case k == taskwatch.Init:
		return 1
	case k == taskwatch.Exit:
		return 3
	}
	return 0
}

// ModuleSpec describes a module that the suite wants.
type ModuleSpec struct {
	Name  string
	Shape ModuleShape
	Quiet bool // it counts its calls, and leaves the log alone
	Fail  Failing
}

// Failing has one watcher of each of the kinds fail. The zero value is
// a module that does not fail.
type Failing struct {
	Kinds   taskwatch.Kinds
	Watcher int           // its place, as in [WatcherCall]
	Errno   syscall.Errno // what it returns, negated where that is usual
	Crash   bool          // it crashes instead
}

// Registry checks a registry: see the package comment.
func Registry(t *testing.T, cfg RegistryConfig) {
	if cfg.Short {
		t.Log("short: only the cases that depend most on the kernel")
	}
	for _, c := range registryCases {
		if c.needs != nil && !c.needs(&cfg) || cfg.Short && !c.kernel {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			report(t, c.why, c.run(t, &cfg))
		})
	}
}

// registryCase is one check of a registry that is made for it.
type registryCase struct {
	name   string
	why    string                     // the rule
	needs  func(*RegistryConfig) bool // nil: it fits every registry
	kernel bool                       // it depends much on the kernel
	check  func(*trial)
}

// run returns everything that is wrong.
func (c *registryCase) run(t testing.TB, cfg *RegistryConfig) []string {
	log := new(CallLog)
	tr := &trial{t: t, cfg: cfg, log: log, reg: cfg.New(t, log)}
	c.check(tr)
	return tr.problems
}

// trial is a registry in the middle of a case, and what is known of it.
type trial struct {
	t   testing.TB
	cfg *RegistryConfig
	log *CallLog
	reg RegistryInstance

	listed   []stay // what ought to be registered, in order
	problems []string
}

// stay is a module that ought to be registered.
type stay struct {
	spec   ModuleSpec
	module RegistryModule
}

func (tr *trial) problem(format string, args ...any) {
	tr.problems = append(tr.problems, fmt.Sprintf(format, args...))
}

// register makes modules and registers them.
func (tr *trial) register(specs ...ModuleSpec) (modules []RegistryModule) {
	for _, spec := range specs {
		m := tr.reg.Make(spec)
		tr.registerMade(spec, m)
		modules = append(modules, m)
	}
	return modules
}

func (tr *trial) registerMade(spec ModuleSpec, m RegistryModule) {
	if err := tr.reg.Register(m); err != nil {
		tr.problem("register %s: %v", spec.Name, err)
		return
	}
	tr.listed = append(tr.listed, stay{spec, m})
}

func (tr *trial) unregister(m RegistryModule) {
	i := slices.IndexFunc(tr.listed, func(s stay) bool { return s.module == m })
	if i < 0 {
		return // it could not be registered, which was said
	}
	if err := tr.reg.Unregister(m); err != nil {
		tr.problem("unregister %s: %v", tr.listed[i].spec.Name, err)
	}
	tr.listed = slices.Delete(tr.listed, i, i+1)
}

// notify causes one event of each kind and compares what happens with the
// rules. The modules that are registered are all guards, or none is.
func (tr *trial) notify(kinds taskwatch.Kinds) {
	for _, k := range (kinds & tr.cfg.Kinds).List() {
		val, err := tr.reg.Notify(k)
		calls, failures := tr.log.take(k)
		wantCalls, wantFailures, errno := tr.expect(k, val)
		// Who decides and who observes may have two moments, so that nothing
		// is said of where a built-in stands among guards.
		if len(tr.listed) > 0 && tr.listed[0].spec.Shape == Guard {
			calls = slices.DeleteFunc(calls, func(c WatcherCall) bool { return c.Module == "" })
			wantCalls = slices.DeleteFunc(wantCalls, func(c WatcherCall) bool { return c.Module == "" })
		}
		if tr.queued(k) {
			byModule(calls, wantCalls)
			byModule(failures, wantFailures)
		}
		if !slices.Equal(calls, wantCalls) {
			tr.problem("on %s were called %s; want %s", k, show(calls), show(wantCalls))
		}
		if !slices.Equal(failures, wantFailures) {
			tr.problem("on %s were reported %s; want %s", k, show(failures), show(wantFailures))
		}
		switch {
		case errno == 0 && err != nil:
			tr.problem("on %s the operation failed with %v; nobody denied it", k, err)
		case errno != 0 && err == nil:
			tr.problem("on %s the operation succeeded; want errno %d, that of the first denial", k, errno)
		case errno != 0 && taskwatch.Errno(err) != errno:
			tr.problem("on %s the operation failed with %v; want errno %d, that of the first denial", k, err, errno)
		}
	}
}

// queued reports whether the modules that are registered have events of kind k
// from queues.
func (tr *trial) queued(k taskwatch.Kind) bool {
	return tr.cfg.Queued && !(tr.cfg.Veto.Has(k) && len(tr.listed) > 0 && tr.listed[0].spec.Shape == Guard)
}

// expect says what an event of kind k is to lead to.
func (tr *trial) expect(k taskwatch.Kind, val uint64) (calls []WatcherCall, failures []Failure, errno syscall.Errno) {
	if tr.cfg.Builtin {
		calls = append(calls, WatcherCall{"", 0, k, val})
	}
	for _, s := range tr.listed {
		for i := range s.spec.Shape.watchers(k) {
			calls = append(calls, WatcherCall{s.spec.Name, i, k, val})
			fail := s.spec.Fail
			switch {
			case !fail.Kinds.Has(k) || fail.Watcher != i:
			case fail.Crash:
				failures = append(failures, Failure{Module: s.spec.Name, Kind: k, Crash: true})
			default:
				veto := s.spec.Shape == Guard && tr.cfg.Veto.Has(k) && errno == 0
				if veto {
					errno = fail.Errno
				}
				failures = append(failures, Failure{Module: s.spec.Name, Kind: k, Errno: fail.Errno, Veto: veto})
			}
		}
	}
	return calls, failures, errno
}

// byModule sorts lists by module and keeps the order of each module's own.
func byModule[T interface{ module() string }](lists ...[]T) {
	for _, list := range lists {
		slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(a.module(), b.module()) })
	}
}

// list compares the registry's listing with what ought to be registered and
// with the failures that were reported.
func (tr *trial) list() {
	var want []taskwatch.ModuleInfo
	for _, s := range tr.listed {
		failed := tr.log.failures(s.spec.Name)
		info := taskwatch.ModuleInfo{Name: s.spec.Name, Errors: failed.errors, Panics: failed.crashes}
		for k := range taskwatch.Kind(taskwatch.NumKinds) {
			if s.spec.Shape.watchers(k) > 0 {
				info.Kinds |= taskwatch.KindsOf(k)
				info.References++
			}
		}
		want = append(want, info)
	}
	if got := tr.reg.Modules(); !slices.Equal(got, want) {
		tr.problem("listed are %+v; want %+v", got, want)
	}
}
