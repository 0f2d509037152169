package watchtest

import (
	"errors"
	"syscall"

	"github.com/taskwatch/taskwatch"
)

// registryCases are the rules of notify, register and unregister, as far as
// they can be seen from outside of any registry.
var registryCases = []registryCase{
	{
		name: "nothing-registered",
		why:  "Events before anything is registered are safe, and reach the built-in.",
		check: func(tr *trial) {
			tr.notify(taskwatch.AllKinds)
			tr.list()
		},
	},
	{
		name: "order", kernel: true,
		why: "Built-ins are called first, then modules in the order of their registration, each module's watchers in their own order. A module that comes again stands behind the others.",
		check: func(tr *trial) {
			m := tr.register(observer("z"), observer("a"), observer("m"))
			tr.notify(taskwatch.AllKinds)
			tr.unregister(m[0])
			tr.notify(taskwatch.AllKinds)
			tr.registerMade(observer("z"), m[0])
			tr.notify(taskwatch.AllKinds)
			tr.list()
		},
	},
	{
		name: "errors",
		why:  "All watchers are called after one failed. Every error is reported and counted for its module. Observers deny nothing.",
		check: func(tr *trial) {
			tr.register(observer("before"), failing("first", Observer, tr.cfg.Kinds, 0, syscall.EIO),
				failing("second", Observer, tr.cfg.Kinds, 1, syscall.E2BIG), observer("behind"))
			tr.notify(taskwatch.AllKinds)
			tr.list()
		},
	},
	{
		name: "no-veto",
		why:  "Where nothing can be denied, the error of a module that wants to is like any other.",
		check: func(tr *trial) {
			facts := tr.cfg.Kinds &^ tr.cfg.Veto
			tr.register(guard("before"), failing("denies", Guard, facts, 0, syscall.EAGAIN), guard("behind"))
			tr.notify(facts)
			tr.list()
		},
	},
	{
		name: "veto", kernel: true,
		why:   "The first error of those that may deny is what the operation fails with. All are called, all are reported, and one report of an event is the veto.",
		needs: func(cfg *RegistryConfig) bool { return cfg.Veto != 0 },
		check: func(tr *trial) {
			init := tr.cfg.Veto & taskwatch.KindsOf(taskwatch.Init)
			for _, kinds := range []taskwatch.Kinds{init, tr.cfg.Veto &^ init} { // the others may need a fork
				m := tr.register(guard("before"), failing("first", Guard, kinds, 1, syscall.EAGAIN),
					failing("second", Guard, kinds, 0, syscall.ENOMEM), guard("behind"))
				tr.notify(kinds)
				tr.list()
				tr.unregister(m[1])
				tr.notify(kinds)
				tr.unregister(m[2])
				tr.notify(kinds)
				tr.unregister(m[0])
				tr.unregister(m[3])
				tr.notify(kinds)
				tr.log.forget()
			}
		},
	},
	{
		name: "denied-is-not-observed", kernel: true,
		why:   "Where decision and fact have two moments, observers are told of an operation only if it happened.",
		needs: func(cfg *RegistryConfig) bool { return cfg.Veto&decided != 0 },
		check: checkNotObserved,
	},
	{
		name: "listed",
		why:  "A module is listed only under events for which it has watchers, holds one reference for each, and is called for no other.",
		check: func(tr *trial) {
			m := tr.register(few("b"), observer("all"), few("a"))
			tr.list()
			tr.notify(taskwatch.AllKinds)
			tr.unregister(m[1])
			tr.list()
			tr.notify(taskwatch.AllKinds)
		},
	},
	{
		name:  "all-or-nothing",
		why:   "Register lists a module under all of its events or, with an error, under none.",
		check: checkAllOrNothing,
	},
	{
		name:  "twice",
		why:   "Registering a module twice, or a second one of its name, is an error and changes nothing.",
		check: checkTwice,
	},
	{
		name: "nil",
		why:  "Nil is the built-in case: nothing is done and no error returned.",
		check: func(tr *trial) {
			tr.register(few("m"))
			if err := tr.reg.Register(nil); err != nil {
				tr.problem("register nil: %v", err)
			}
			if err := tr.reg.Unregister(nil); err != nil {
				tr.problem("unregister nil: %v", err)
			}
			tr.list()
			tr.notify(fewKinds)
		},
	},
	{
		name:  "unregister",
		why:   "After Unregister nothing of the module is called and the others go on. Unregistering what is not registered is an error. A module can be registered again.",
		check: checkUnregister,
	},
	{
		name:  "unregister-waits",
		why:   "Unregister returns when no watcher of the module is running any more.",
		needs: inside,
		check: checkWaits,
	},
	{
		name:  "unregister-inside",
		why:   "Unregister from inside a watcher of the module is an error, and no deadlock.",
		needs: inside,
		check: checkInside,
	},
	{
		name:  "crash",
		why:   "A watcher that crashes is an error of that watcher, counted and reported for its module, denies nothing, and keeps no other from being called.",
		needs: func(cfg *RegistryConfig) bool { return cfg.Crash },
		check: func(tr *trial) {
			kinds := tr.cfg.Kinds.List()
			if n := tr.cfg.Crashes; n > 0 {
				kinds = kinds[:n]
			}
			for _, shape := range []ModuleShape{Observer, Guard} {
				crash := Failing{Kinds: taskwatch.KindsOf(kinds...), Crash: true}
				m := tr.register(ModuleSpec{Name: "before", Shape: shape}, ModuleSpec{Name: "crash", Shape: shape, Fail: crash},
					failing("fails", shape, tr.cfg.Kinds&^tr.cfg.Veto, 1, syscall.EIO), ModuleSpec{Name: "behind", Shape: shape})
				tr.notify(taskwatch.AllKinds)
				tr.list()
				for _, m := range m {
					tr.unregister(m)
				}
				tr.log.forget()
			}
		},
	},
	{
		name:  "turns",
		why:   "Modules may be registered and unregistered by many at once: each call succeeds or says why not, and none is lost or there twice.",
		check: checkTurns,
	},
	{
		name: "storm", kernel: true,
		why:   "While modules come and go during a storm of events, none is called after its Unregister has returned, and a module that stays misses nothing.",
		check: checkStorm,
	},
}

// decided are the kinds whose decision comes before the fact.
const decided taskwatch.Kinds = 1<<taskwatch.Exec | 1<<taskwatch.UID | 1<<taskwatch.GID

// fewKinds are the kinds that Few watches.
const fewKinds taskwatch.Kinds = 1<<taskwatch.Init | 1<<taskwatch.Exit

func inside(cfg *RegistryConfig) bool { return cfg.Inside }

func observer(name string) ModuleSpec { return ModuleSpec{Name: name, Shape: Observer} }

func guard(name string) ModuleSpec { return ModuleSpec{Name: name, Shape: Guard} }

func few(name string) ModuleSpec { return ModuleSpec{Name: name, Shape: Few} }

func failing(name string, shape ModuleShape, kinds taskwatch.Kinds, watcher int, errno syscall.Errno) ModuleSpec {
	return ModuleSpec{Name: name, Shape: shape, Fail: Failing{Kinds: kinds, Watcher: watcher, Errno: errno}}
}

func (tr *trial) wantErr(what string, err, want error) {
	if !errors.Is(err, want) {
		tr.problem("%s: the error is %v; want %v", what, err, want)
	}
}

func checkNotObserved(tr *trial) {
	kinds := tr.cfg.Veto & decided
	tr.register(observer("observer"), failing("denies", Guard, kinds, 0, syscall.EACCES))
	for _, k := range kinds.List() {
		_, err := tr.reg.Notify(k)
		if err == nil {
			tr.problem("%s was not denied", k)
		}
		calls, _ := tr.log.take(k)
		asked := 0
		for _, c := range calls {
			switch c.Module {
			case "observer":
				tr.problem("%s was denied, and the observer was told of it: %s", k, show(calls))
			case "denies":
				asked++
			}
		}
		if asked != 2 {
			tr.problem("on %s were called %s; want both watchers of the module that denies", k, show(calls))
		}
	}
}

func checkAllOrNothing(tr *trial) {
	tr.register(few("resident"))
	m := tr.reg.Make(ModuleSpec{Name: "broken", Shape: Broken})
	for range 2 {
		if err := tr.reg.Register(m); err == nil {
			tr.problem("a module with a watcher that cannot be registered was registered")
		}
		tr.list()
		tr.notify(fewKinds)
		tr.wantErr("unregister what could not be registered", tr.reg.Unregister(m), taskwatch.ErrNotRegistered)
	}
	// Its name is free.
	tr.register(few("broken"))
	tr.list()
	tr.notify(fewKinds)
}

func checkTwice(tr *trial) {
	m := tr.register(few("m"))[0]
	namesake := tr.reg.Make(few("m"))
	for range 2 { // before and after the first event
		tr.wantErr("register twice", tr.reg.Register(m), taskwatch.ErrRegistered)
		tr.wantErr("register a second one of the name", tr.reg.Register(namesake), taskwatch.ErrNameTaken)
		tr.list()
		tr.notify(fewKinds)
	}
	tr.unregister(m)
	_, before := m.Counts()
	tr.registerMade(few("m"), namesake)
	tr.list()
	tr.notify(fewKinds)
	if _, after := m.Counts(); after != before {
		tr.problem("%d calls for the second module of a name reached the first", after-before)
	}
}

func checkUnregister(tr *trial) {
	m := tr.reg.Make(few("m"))
	tr.wantErr("unregister before register", tr.reg.Unregister(m), taskwatch.ErrNotRegistered)
	tr.register(few("resident"))
	for range 2 {
		tr.registerMade(few("m"), m)
		tr.notify(fewKinds)
		tr.wantErr("unregister a module of the same name that is not registered",
			tr.reg.Unregister(tr.reg.Make(few("m"))), taskwatch.ErrNotRegistered)
		tr.notify(fewKinds)
		tr.unregister(m)
		tr.list()
		tr.notify(fewKinds)
		tr.wantErr("unregister twice", tr.reg.Unregister(m), taskwatch.ErrNotRegistered)
	}
}

// someKinds returns a kind that is decided on, and one that is a fact.
func (tr *trial) someKinds() []taskwatch.Kind {
	var kinds []taskwatch.Kind
	for _, s := range []taskwatch.Kinds{tr.cfg.Veto, tr.cfg.Kinds &^ tr.cfg.Veto} {
		if list := s.List(); len(list) > 0 {
			kinds = append(kinds, list[0])
		}
	}
	return kinds
}
