package watchtest

import (
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskwatch/taskwatch"
)

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
