package watchtest

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// builtinEnv has this process compile in the suite's built-in, which every
// registry of the process then has.
const builtinEnv = "TASKWATCH_TEST_BUILTIN"

// builtinLog is where the built-in says that it was called.
var builtinLog atomic.Pointer[CallLog]

func init() {
	if os.Getenv(builtinEnv) == "" {
		return
	}
	for _, k := range taskwatch.AllKinds.List() {
		taskwatch.Builtin(k, func(ev *taskwatch.Event) error {
			if l := builtinLog.Load(); l != nil {
				l.Call(WatcherCall{"", 0, ev.Kind, ev.Val})
			}
			return nil
		})
	}
}

// TestRegistry holds the suite against the registry of Go modules, in a
// process of its own, because its built-in would be everybody's.
func TestRegistry(t *testing.T) {
	if os.Getenv(builtinEnv) != "" {
		Registry(t, goConfig(true))
		return
	}
	cmd := testutil.Self(t, "-test.v", "-test.run=^TestRegistry$")
	cmd.Env = append(os.Environ(), builtinEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestRegistry/storm") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// goConfig is of taskwatch.Registry with modules in Go.
func goConfig(builtin bool) RegistryConfig {
	return RegistryConfig{
		Kinds: taskwatch.AllKinds, Veto: taskwatch.KindsOf(taskwatch.Init, taskwatch.Exec, taskwatch.UID, taskwatch.GID),
		Builtin: builtin, Crash: true, Inside: true, Stays: 2000,
		New: func(t testing.TB, log *CallLog) RegistryInstance {
			if builtin {
				builtinLog.Store(log)
				t.Cleanup(func() { builtinLog.Store(nil) })
			}
			return NewHosted(t, log, func(_ *taskwatch.Registry, spec ModuleSpec) *HostedModule { return goModule(log, spec) })
		},
	}
}

// goTable is the watchers of a module of Go functions.
type goTable struct {
	watchers [taskwatch.NumKinds][]taskwatch.Watcher
	observes bool
	counts   [taskwatch.NumKinds]atomic.Uint64
	ran      atomic.Uint64
}

func newGoTable(log *CallLog, spec ModuleSpec) *goTable {
	t := &goTable{observes: spec.Shape != Guard}
	for k := range taskwatch.Kind(taskwatch.NumKinds) {
		for i := range spec.Shape.watchers(k) {
			t.watchers[k] = append(t.watchers[k], goWatcher(log, spec, i, &t.counts[k], &t.ran))
		}
	}
	if spec.Shape == Broken {
		t.watchers[taskwatch.Exit] = append(t.watchers[taskwatch.Exit], nil)
	}
	return t
}

func (t *goTable) kinds() (kinds taskwatch.Kinds) {
	for k, list := range t.watchers {
		if len(list) > 0 {
			kinds |= taskwatch.KindsOf(taskwatch.Kind(k))
		}
	}
	return kinds
}

func (t *goTable) count() (own [taskwatch.NumKinds]uint64, all uint64) {
	for k := range own {
		own[k] = t.counts[k].Load()
	}
	return own, t.ran.Load()
}

// goModule makes a module of Go functions.
func goModule(log *CallLog, spec ModuleSpec) *HostedModule {
	t := newGoTable(log, spec)
	m := &taskwatch.Module{Name: spec.Name}
	var options []taskwatch.WatchOption
	if t.observes {
		options = append(options, taskwatch.Observe())
	}
	for k, list := range t.watchers {
		for _, fn := range list {
			m.Watch(taskwatch.Kind(k), fn, options...)
		}
	}
	return &HostedModule{Module: m, Count: t.count}
}

// goWatcher makes the i-th watcher of a module on a kind.
func goWatcher(log *CallLog, spec ModuleSpec, i int, count, ran *atomic.Uint64) taskwatch.Watcher {
	return func(ev *taskwatch.Event) error {
		if spec.Quiet {
			runtime.Gosched() // in here, so that others find it running
		} else {
			log.Call(WatcherCall{spec.Name, i, ev.Kind, ev.Val})
		}
		ran.Add(1)
		if i == 0 {
			count.Add(1)
		}
		switch {
		case !spec.Fail.Kinds.Has(ev.Kind) || spec.Fail.Watcher != i:
		case spec.Fail.Crash:
			panic("the suite's watcher crashes")
		default:
			return spec.Fail.Errno
		}
		return nil
	}
}

// plainRegistry is a registry that can be read at a glance, and given one defect.
// Walks hold the lock, so that Unregister waits for them.
type plainRegistry struct {
	defect  string
	report  func(*taskwatch.Failure)
	tables  sync.Map     // of *goTable, by module: who does not wait looks without the lock
	mu      sync.RWMutex // guards the fields below
	modules []*taskwatch.Module
	infos   map[*taskwatch.Module]*taskwatch.ModuleInfo
}

func plainConfig(defect string) RegistryConfig {
	cfg := goConfig(false)
	cfg.Stays = 300
	cfg.New = func(t testing.TB, log *CallLog) RegistryInstance {
		p := &plainRegistry{
			defect: defect, report: log.reportFailure,
			infos: map[*taskwatch.Module]*taskwatch.ModuleInfo{},
		}
		return &hosted{t: t, log: log, reg: p, feed: func() notifier { return p }, make: func(spec ModuleSpec) *HostedModule {
			t, m := newGoTable(log, spec), &taskwatch.Module{Name: spec.Name}
			p.tables.Store(m, t)
			return &HostedModule{Module: m, Count: t.count}
		}}
	}
	return cfg
}

func (p *plainRegistry) Register(m *taskwatch.Module) error {
	if m == nil {
		if p.defect == "nil" {
			return taskwatch.ErrInvalid
		}
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, other := range p.modules {
		if other == m && p.defect != "twice" {
			return taskwatch.ErrRegistered
		}
		if other != m && other.Name == m.Name && p.defect != "namesakes" {
			return taskwatch.ErrNameTaken
		}
	}
	var err error
	t := p.table(m)
	if t == nil {
		t = new(goTable) // one that was never made
	}
	for k, list := range t.watchers {
		if i := slices.IndexFunc(list, func(fn taskwatch.Watcher) bool { return fn == nil }); i >= 0 {
			err = taskwatch.ErrInvalid
			if p.defect == "half a module" {
				t.watchers[k] = list[:i]
			}
		}
	}
	if err != nil && p.defect != "half a module" {
		return err
	}
	info := &taskwatch.ModuleInfo{Name: m.Name, Kinds: t.kinds(), References: len(t.kinds().List())}
	switch p.defect {
	case "listed everywhere":
		info.Kinds, info.References = taskwatch.AllKinds, taskwatch.NumKinds
	case "a reference for each watcher":
		info.References = 0
		for _, list := range t.watchers {
			info.References += len(list)
		}
	case "again is never":
		if p.infos[m] != nil {
			return taskwatch.ErrRegistered
		}
	}
	switch p.defect {
	case "last comes first":
		p.modules = slices.Insert(p.modules, 0, m)
	case "no turns":
		stale := slices.Clone(p.modules)
		p.mu.Unlock()
		time.Sleep(time.Millisecond)
		p.mu.Lock()
		p.modules = append(stale, m)
	default:
		p.modules = append(p.modules, m)
	}
	p.infos[m] = info
	return err
}

func (p *plainRegistry) Unregister(m *taskwatch.Module) error {
	if m == nil {
		return nil
	}
	if insideWatcher() && p.defect != "unregistered from inside" {
		return taskwatch.ErrInWatcher
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.modules, m)
	if p.defect == "by name" {
		i = slices.IndexFunc(p.modules, func(o *taskwatch.Module) bool { return o.Name == m.Name })
	}
	if i < 0 {
		if p.defect == "nothing to unregister" {
			return nil
		}
		return taskwatch.ErrNotRegistered
	}
	if p.defect != "stays" {
		p.modules = slices.Concat(p.modules[:i], p.modules[i+1:])
	}
	return nil
}

// waits reports whether a walk holds the lock, for which Unregister waits.
func (p *plainRegistry) waits() bool {
	return p.defect != "does not wait" && p.defect != "unregistered from inside"
}

// insideWatcher reports whether a walk is on the calling goroutine's stack.
func insideWatcher() bool {
	pcs := make([]uintptr, 100)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, ".(*plainRegistry).walk") {
			return true
		}
		if !more {
			return false
		}
	}
}

func (p *plainRegistry) Modules() (list []taskwatch.ModuleInfo) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, m := range p.modules {
		list = append(list, *p.infos[m])
	}
	return list
}

func (p *plainRegistry) Notify(ev *taskwatch.Event) error { return p.walk(ev, true, true) }
func (p *plainRegistry) NotifyBefore(ev *taskwatch.Event) error {
	return p.walk(ev, true, p.defect == "observed early")
}
func (p *plainRegistry) NotifyAfter(ev *taskwatch.Event) error {
	return p.walk(ev, false, p.defect != "observed early")
}

func (p *plainRegistry) walk(ev *taskwatch.Event, guards, observers bool) error {
	p.mu.RLock()
	modules := p.modules
	if p.waits() {
		defer p.mu.RUnlock()
	} else {
		p.mu.RUnlock()
	}
	var first *taskwatch.Failure
	vetoed := false
	for _, m := range modules {
		t := p.table(m)
		if t.observes && !observers || !t.observes && !guards {
			continue
		}
		list := t.watchers[ev.Kind]
		switch p.defect {
		case "watchers backwards":
			list = slices.Clone(list)
			slices.Reverse(list)
		case "called for another":
			if ev.Kind == taskwatch.Init {
				list = slices.Concat(list, t.watchers[taskwatch.Exit])
			}
		case "one watcher each":
			list = list[:min(len(list), 1)]
		case "another val":
			ev.Val = 0
		}
		for _, fn := range list {
			we := p.call(m, fn, ev, vetoed)
			if we == nil {
				continue
			}
			vetoed = vetoed || denies(we)
			if first == nil || p.defect == "last error" || denies(we) && !denies(first) {
				first = we
			}
			if p.defect == "stops at an error" || p.defect == "stops at a crash" && we.Crash {
				return first
			}
		}
	}
	if first == nil {
		return nil
	}
	if p.defect == "no errno" {
		first.Err = errors.New("no")
	}
	return first
}

func (p *plainRegistry) table(m *taskwatch.Module) *goTable {
	v, _ := p.tables.Load(m)
	t, _ := v.(*goTable) // nil if m was never made
	return t
}

func denies(f *taskwatch.Failure) bool { return f.Verdict == taskwatch.Denied }

// call calls one watcher and reports its error.
func (p *plainRegistry) call(m *taskwatch.Module, fn taskwatch.Watcher, ev *taskwatch.Event, vetoed bool) (we *taskwatch.Failure) {
	defer func() {
		if c := recover(); c != nil {
			we = &taskwatch.Failure{Err: errors.New("crash"), Panic: c, Crash: true}
		}
		if we == nil {
			return
		}
		we.Module, we.Kind = m.Name, ev.Kind
		denies := ev.Kind.Vetoable() && (!vetoed || p.defect == "two vetoes") && (!we.Crash || p.defect == "a crash denies") &&
			(!p.table(m).observes || p.defect == "observers deny") && p.defect != "denies nothing"
		if denies {
			we.Verdict = taskwatch.Denied
		}
		p.count(m, we)
		if p.defect != "reports nothing" {
			p.report(we)
		}
	}()
	if err := fn(ev); err != nil {
		return &taskwatch.Failure{Err: err}
	}
	return nil
}

var counting sync.Mutex

func (p *plainRegistry) count(m *taskwatch.Module, we *taskwatch.Failure) {
	counting.Lock()
	defer counting.Unlock()
	switch info := p.infos[m]; {
	case p.defect == "counts nothing":
	case we.Crash:
		info.Panics++
	default:
		info.Errors++
	}
}

// TestRegistryCanFail gives the plain registry one defect each: the suite has
// to notice every one. Without a defect it passes.
func TestRegistryCanFail(t *testing.T) {
	Registry(t, plainConfig(""))
	for _, d := range []struct{ defect, in, want string }{
		{"last comes first", "order", "on exec were called"},
		{"watchers backwards", "order", "on exec were called"},
		{"another val", "order", "exec0(0x0)"},
		{"one watcher each", "listed", "on exit were called"},
		{"stops at an error", "errors", "on exit were called"},
		{"reports nothing", "errors", "were reported nothing"},
		{"counts nothing", "errors", "listed are"},
		{"observers deny", "errors", "nobody denied it"},
		{"denies nothing", "veto", "want errno 11"},
		{"last error", "veto", "want errno 11"},
		{"no errno", "veto", "want errno 11"},
		{"two vetoes", "veto", "{second on init: errno 12, a veto}"},
		{"observed early", "denied-is-not-observed", "the observer was told of it"},
		{"listed everywhere", "listed", "listed are"},
		{"a reference for each watcher", "listed", "listed are"},
		{"called for another", "listed", "on init were called"},
		{"half a module", "all-or-nothing", "listed are"},
		{"twice", "twice", "register twice: the error is <nil>"},
		{"namesakes", "twice", "a second one of the name: the error is <nil>"},
		{"nil", "nil", "register nil"},
		{"by name", "unregister", "not registered: the error is <nil>"},
		{"nothing to unregister", "unregister", "unregister twice: the error is <nil>"},
		{"stays", "unregister", "listed are"},
		{"again is never", "order", "register z: already registered"},
		{"does not wait", "unregister-waits", "while a watcher was running"},
		{"does not wait", "storm", "came after Unregister had returned"},
		{"unregistered from inside", "unregister-inside", "the error is <nil>"},
		{"stops at a crash", "crash", "on exit were called"},
		{"a crash denies", "crash", "nobody denied it"},
		{"counts nothing", "crash", "listed are"},
		{"no turns", "turns", "listed are, how often each"},
	} {
		t.Run(d.defect+"/"+d.in, func(t *testing.T) {
			cfg := plainConfig(d.defect)
			i := slices.IndexFunc(registryCases, func(c registryCase) bool { return c.name == d.in })
			if problems := strings.Join(registryCases[i].run(t, &cfg), "\n"); !strings.Contains(problems, d.want) {
				t.Errorf("the case says\n\t%s\nwant a problem with %q", problems, d.want)
			}
		})
	}
}
