package watchtest

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

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
		why:  "All watchers are called after one failed. Every error is reported and counted for its module. Observers refuse nothing.",
		check: func(tr *trial) {
			tr.register(observer("before"), failing("first", Observer, tr.cfg.Kinds, 0, syscall.EIO),
				failing("second", Observer, tr.cfg.Kinds, 1, syscall.E2BIG), observer("behind"))
			tr.notify(taskwatch.AllKinds)
			tr.list()
		},
	},
	{
		name: "no-veto",
		why:  "Where nothing can be refused, the error of a module that wants to is like any other.",
		check: func(tr *trial) {
			facts := tr.cfg.Kinds &^ tr.cfg.Veto
			tr.register(guard("before"), failing("refuses", Guard, facts, 0, syscall.EAGAIN), guard("behind"))
			tr.notify(facts)
			tr.list()
		},
	},
	{
		name: "veto", kernel: true,
		why:   "The first error of those that may refuse is what the operation fails with. All are called, all are reported, and one report of an event is the veto.",
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
		name: "refused-is-not-observed", kernel: true,
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
		why:   "A watcher that crashes is an error of that watcher, counted and reported for its module, refuses nothing, and keeps no other from being called.",
		needs: func(cfg *RegistryConfig) bool { return cfg.Crash },
		check: func(tr *trial) {
			kinds := tr.cfg.Kinds.List()
			if n := tr.cfg.Crashes; n > 0 {
				kinds = kinds[:n]
			}
			for _, shape := range []ModuleShape{Observer, Guard} {
				crash := WatcherFailure{Kinds: taskwatch.KindsOf(kinds...), Crash: true}
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
func guard(name string) ModuleSpec    { return ModuleSpec{Name: name, Shape: Guard} }
func few(name string) ModuleSpec      { return ModuleSpec{Name: name, Shape: Few} }

func failing(name string, shape ModuleShape, kinds taskwatch.Kinds, watcher int, errno syscall.Errno) ModuleSpec {
	return ModuleSpec{Name: name, Shape: shape, Fail: WatcherFailure{Kinds: kinds, Watcher: watcher, Errno: errno}}
}

func (tr *trial) wantErr(what string, err, want error) {
	if !errors.Is(err, want) {
		tr.problem("%s: the error is %v; want %v", what, err, want)
	}
}

func checkNotObserved(tr *trial) {
	kinds := tr.cfg.Veto & decided
	tr.register(observer("observer"), failing("refuses", Guard, kinds, 0, syscall.EACCES))
	for _, k := range kinds.List() {
		_, err := tr.reg.Notify(k)
		if err == nil {
			tr.problem("%s was not refused", k)
		}
		calls, _ := tr.log.take(k)
		asked := 0
		for _, c := range calls {
			switch c.Module {
			case "observer":
				tr.problem("%s was refused, and the observer was told of it: %s", k, show(calls))
			case "refuses":
				asked++
			}
		}
		if asked != 2 {
			tr.problem("on %s were called %s; want both watchers of the module that refuses", k, show(calls))
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

// checkWaits keeps a watcher running while its module is unregistered.
func checkWaits(tr *trial) {
	for _, k := range tr.someKinds() {
		m := tr.register(guard("m"))[0]
		running, goOn := make(chan struct{}, 1), make(chan struct{})
		var left atomic.Bool
		tr.log.setHold(func(c WatcherCall) {
			if c.Module != "m" || c.Kind != k || c.Watcher != 0 {
				return
			}
			running <- struct{}{}
			<-goOn
			left.Store(true)
		})
		notified := make(chan error, 1)
		go func() {
			_, err := tr.reg.Notify(k)
			notified <- err
		}()
		select {
		case <-running:
		case <-time.After(patience):
			tr.problem("on %s the module was not called", k)
			return
		}
		result := make(chan error, 1)
		go func() { result <- tr.reg.Unregister(m) }()
		// Time to go wrong: what is right does not depend on it.
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
			runtime.Gosched()
		}
		select {
		case err := <-result:
			tr.problem("on %s Unregister returned %v while a watcher was running", k, err)
			result <- err
		default:
		}
		close(goOn)
		select {
		case err := <-result:
			if err != nil {
				tr.problem("unregister: %v", err)
			}
		case <-time.After(patience):
			tr.problem("on %s Unregister has not returned after the last watcher has", k)
			return
		}
		if !left.Load() {
			tr.problem("on %s Unregister returned before the watcher", k)
		}
		if err := <-notified; err != nil {
			tr.problem("notify %s: %v", k, err)
		}
		tr.log.setHold(nil)
		tr.listed = nil
		tr.list()
	}
}

// checkInside unregisters a module from inside its own watcher.
func checkInside(tr *trial) {
	spec := guard("m")
	m := tr.register(spec)[0]
	for _, k := range tr.someKinds() {
		if tr.cfg.Queued && !tr.cfg.Veto.Has(k) {
			continue // nobody can say of a goroutine of the module's own that it is inside
		}
		var result error
		tried := false
		tr.log.setHold(func(c WatcherCall) {
			if c.Module == "m" && c.Kind == k && !tried {
				tried = true
				result = tr.reg.Unregister(m)
			}
		})
		done := make(chan struct{})
		go func() { defer close(done); tr.notify(taskwatch.KindsOf(k)) }()
		select {
		case <-done:
		case <-time.After(patience):
			tr.problem("unregister from inside a watcher on %s never returns", k)
			return
		}
		tr.log.setHold(nil)
		tr.wantErr(fmt.Sprintf("unregister from inside a watcher on %s", k), result, taskwatch.ErrInWatcher)
		tr.list()
		tr.notify(taskwatch.KindsOf(k))
	}
	tr.unregister(m)
	tr.list()
}

// checkTurns has several goroutines register and unregister: each a module of
// its own, and one that they share.
func checkTurns(tr *trial) {
	const many, rounds = 4, 3
	shared := tr.reg.Make(few("shared"))
	var own []RegistryModule
	for n := range many {
		own = append(own, tr.reg.Make(few(fmt.Sprint("own", n))))
	}
	// together has everybody do the same, and checks that it succeeds for
	// one's own and for one of all with the shared module.
	together := func(what string, do func(RegistryModule) error, otherwise error) {
		var errs [many][2]error
		var all sync.WaitGroup
		for n, m := range own {
			all.Go(func() { errs[n] = [2]error{do(m), do(shared)} })
		}
		all.Wait()
		succeeded := 0
		for n, err := range errs {
			if err[0] != nil {
				tr.problem("%s own%d: %v", what, n, err[0])
			}
			if err[1] == nil {
				succeeded++
			} else {
				tr.wantErr(what+" the shared module", err[1], otherwise)
			}
		}
		if succeeded != 1 {
			tr.problem("%s the shared module succeeded %d times", what, succeeded)
		}
	}
	for range rounds {
		together("register", tr.reg.Register, taskwatch.ErrRegistered)
		there := map[string]int{}
		for _, info := range tr.reg.Modules() {
			there[info.Name]++
		}
		want := map[string]int{"shared": 1}
		for n := range many {
			want[fmt.Sprint("own", n)] = 1
		}
		if !maps.Equal(there, want) {
			tr.problem("listed are, how often each: %v; want %v", there, want)
		}
		together("unregister", tr.reg.Unregister, taskwatch.ErrNotRegistered)
		tr.list()
	}
	tr.notify(fewKinds)
}

// checkStorm has a module come and go in a storm.
func checkStorm(tr *trial) {
	stays := tr.cfg.Stays
	if stays == 0 {
		stays = 200
	}
	quiet := func(spec ModuleSpec) ModuleSpec { spec.Quiet = true; return spec }
	resident := tr.register(quiet(observer("resident")))[0]
	end := tr.reg.Storm()
	ended := false
	defer func() {
		if !ended {
			end()
		}
	}()
	// goOn waits until the storm has gone on for so many calls.
	goOn := func(calls uint64) bool {
		_, seen := resident.Counts()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Microsecond) {
			if _, now := resident.Counts(); now >= seen+calls {
				return true
			}
		}
		tr.problem("no event of the storm reaches the resident module")
		return false
	}
	blind, late := 0, uint64(0)
	var visitor RegistryModule
	for i := range stays {
		if i%2 == 0 { // else the same once more
			visitor = tr.reg.Make(quiet(few("visitor")))
		}
		_, before := visitor.Counts()
		tr.registerMade(quiet(few("visitor")), visitor)
		if !goOn(uint64(10 * (i % 4))) {
			return
		}
		tr.unregister(visitor)
		_, at := visitor.Counts()
		if !goOn(20) {
			return
		}
		_, after := visitor.Counts()
		late += after - at
		if at == before {
			blind++
		}
	}
	if late != 0 {
		tr.problem("%d calls in %d stays came after Unregister had returned", late, stays)
	}
	if blind > stays/2 {
		tr.problem("%d of %d stays saw nothing of the storm", blind, stays)
	}
	want := end()
	ended = true
	for _, k := range tr.cfg.Kinds.List() {
		var got uint64
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			own, _ := resident.Counts()
			if got = own[k]; got >= want[k] {
				break // free lags behind
			}
		}
		if got != want[k] {
			tr.problem("the resident module was called for %d events of %s; there were %d", got, k, want[k])
		}
	}
	tr.list()
}
