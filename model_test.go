package taskwatch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The registry against a model that is so plain that it can be read at a
// glance: slices walked in order, no concurrency, no panics, no snapshots. A
// string of bytes makes the modules and says what happens to them; both are
// driven by it and have to agree after every step, on the calls made, in
// order, and on everything that can be asked.

// act is what a watcher does when it is called.
type act byte

const (
	actNothing act = iota
	actFail
	actPanic
	actGoexit
	actUnregisterSelf
	actRegisterNext // the module behind it in the pool
	actNotify       // another kind of event, in the middle of this one
	actSend
	numActs
)

var errAct = errors.New("the watcher's error")

// spec describes one module of the pool.
type spec struct {
	name     string
	observer bool
	table    [NumKinds][]act
	badTable bool // a nil watcher at the end of the list of free
}

func (sp *spec) kinds() (s Kinds) {
	for k, list := range sp.table {
		if len(list) > 0 {
			s |= KindsOf(Kind(k))
		}
	}
	return s
}

// moveReader reads the string of bytes; behind its end it reads zeros.
type moveReader struct{ data []byte }

func (m *moveReader) next(n int) int {
	if len(m.data) == 0 {
		return 0
	}
	b := m.data[0]
	m.data = m.data[1:]
	return int(b) % n
}

func (m *moveReader) spec(i int) *spec {
	sp := &spec{name: fmt.Sprint("m", i)}
	switch m.next(8) {
	case 0:
		sp.name = "m0" // taken, more often than not
	case 1, 2, 3:
		sp.observer = true
	case 5:
		sp.badTable = m.next(4) == 0
	}
	for range m.next(6) {
		k := m.next(NumKinds)
		a := act(0)
		if m.next(2) == 1 {
			a = act(m.next(int(numActs)))
		}
		sp.table[k] = append(sp.table[k], a)
	}
	return sp
}

const poolSize = 5

// sinkKinds are those that the sink gets which notes all items.
const sinkKinds Kinds = 1<<Clone | 1<<Exec | 1<<Exit

// model is the registry as it ought to be, with a feed that denies everything.
type model struct {
	builtin  *stay
	pool     []*spec
	stays    []*stay
	log      []string
	depth    int
	held     []string // of the one task that there is
	heldKind Kind
}

// stay is a module while it is registered.
type stay struct {
	*spec
	index          int
	errors, panics uint64
}

func (m *model) say(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func (m *model) register(i int) error {
	sp := m.pool[i]
	if sp.badTable || sp.kinds() == 0 {
		return ErrInvalid
	}
	for _, s := range m.stays {
		if s.index == i {
			return ErrRegistered
		}
		if s.name == sp.name {
			return ErrNameTaken
		}
	}
	m.stays = append(slices.Clone(m.stays), &stay{spec: sp, index: i})
	return nil
}

func (m *model) unregister(i int) error {
	if m.depth > 0 {
		return ErrInWatcher
	}
	for at, s := range m.stays {
		if s.index == i {
			m.stays = slices.Concat(m.stays[:at], m.stays[at+1:])
			return nil
		}
	}
	return ErrNotRegistered
}

// notify returns a description of the error ("" for none) and whether the
// goroutine ends, which keeps it from everything that was to come.
func (m *model) notify(k Kind, when moment) (result string, exits bool) {
	m.depth++
	defer func() { m.depth-- }()
	asked, denied := false, false
	var sent, failures []string
	watched := when != before && sinkKinds.Has(k) || m.held != nil
	for _, s := range append([]*stay{m.builtin}, m.stays...) {
		if when == before && s.observer || when == after && !s.observer {
			continue
		}
		for i, a := range s.table[k] {
			watched = true
			m.say("%s.%s%d", s.name, k, i)
			cause := ""
			switch a {
			case actFail:
				cause = errAct.Error()
			case actPanic:
				cause = "panic: the watcher's panic"
			case actGoexit:
				return "", true
			case actUnregisterSelf:
				cause = describe(m.unregister(s.index))
			case actRegisterNext:
				cause = describe(m.register((s.index + 1) % poolSize))
			case actSend:
				sent = append(sent, fmt.Sprintf("record of %s at %s", s.name, k))
			case actNotify:
				if m.depth < 3 {
					if cause, exits = m.notify((k+1)%NumKinds, always); exits {
						return "", true
					}
				}
			}
			if cause == "" {
				continue
			}
			asks := false
			if a == actPanic {
				s.panics++
			} else {
				s.errors++
				asks = !s.observer && !asked && (k == Init || k == Exec || k == UID || k == GID)
			}
			what := fmt.Sprintf("{%s %s denied=%t: %s}", s.name, k, asks, cause)
			failures = append(failures, what)
			if result == "" || asks {
				result = what
			}
			asked, denied = asked || asks, denied || asks
		}
	}
	if watched {
		m.report(k, when, denied, append(sent, failures...))
	}
	return result, false
}

// report says what the sink is given.
func (m *model) report(k Kind, when moment, denied bool, behind []string) {
	var first []string
	if m.held != nil {
		if when == after && m.heldKind == k {
			behind = append(m.held, behind...)
		} else {
			first = m.held
		}
		m.held = nil
	}
	m.log = append(m.log, first...)
	switch {
	case when == before && !denied:
		m.held, m.heldKind = behind, k
		return
	case when != before && sinkKinds.Has(k):
		m.say("event %s", k)
	}
	m.log = append(m.log, behind...)
}

func (m *model) state() string {
	var all, veto Kinds
	all, veto = m.builtin.kinds()|sinkKinds, m.builtin.kinds()
	var b strings.Builder
	for _, s := range m.stays {
		fmt.Fprintf(&b, "%s kinds=%s references=%d errors=%d panics=%d\n", s.name, s.kinds(), len(s.kinds().List()), s.errors, s.panics)
		all |= s.kinds()
		if !s.observer {
			veto |= s.kinds()
		}
	}
	return fmt.Sprintf("%skinds=%s veto=%s", b.String(), all, veto&KindsOf(Init, Exec, UID, GID))
}

// real is the registry, made to do the same.
type real struct {
	r       Registry
	feed    *Feed
	task    Task
	modules []*Module
	log     []string
	depth   int
}

// attach attaches a sink that notes every item.
func (re *real) attach(t *testing.T) {
	re.feed = denying(&re.r)
	err := re.r.Attach(NewSink(WantAll(sinkKinds), func(it Item) {
		switch {
		case it.Event != nil:
			re.say("event %s", it.Event.Kind)
		case it.Failure != nil:
			re.say("%s", describe(it.Failure))
		case it.Record != nil:
			re.say("record of %s at %s", it.Record.Module, it.Record.Data)
		case it.Loss != nil:
			re.say("lost %d", it.Loss.Count)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
}

func (re *real) say(format string, args ...any) {
	re.log = append(re.log, fmt.Sprintf(format, args...))
}

func (re *real) watcher(index int, name string, k Kind, i int, a act) Watcher {
	return func(ev *Event) error {
		if ev.Kind != k {
			return fmt.Errorf("called on %s", ev.Kind)
		}
		re.say("%s.%s%d", name, k, i)
		switch a {
		case actFail:
			return errAct
		case actPanic:
			panic("the watcher's panic")
		case actGoexit:
			runtime.Goexit()
		case actUnregisterSelf:
			return re.unregister(index)
		case actRegisterNext:
			return re.register((index + 1) % poolSize)
		case actNotify:
			if re.depth < 3 {
				return re.notify((k+1)%NumKinds, always)
			}
		case actSend:
			ev.Send(name, []byte(k.String()))
		}
		return nil
	}
}

func (re *real) module(i int, sp *spec) *Module {
	m := &Module{Name: sp.name}
	var options []WatchOption
	if sp.observer {
		options = append(options, Observe())
	}
	for k, list := range sp.table {
		for at, a := range list {
			m.Watch(Kind(k), re.watcher(i, sp.name, Kind(k), at, a), options...)
		}
	}
	if sp.badTable {
		m.Watch(Free, nil)
	}
	return m
}

func (re *real) register(i int) error   { return re.r.Register(re.modules[i]) }
func (re *real) unregister(i int) error { return re.r.Unregister(re.modules[i]) }

func (re *real) notify(k Kind, when moment) error {
	re.depth++
	defer func() { re.depth-- }()
	ev := &Event{Kind: k, Task: &re.task}
	switch when {
	case before:
		return re.feed.NotifyBefore(ev)
	case after:
		return re.feed.NotifyAfter(ev)
	}
	return re.feed.Notify(ev)
}

func (re *real) state() string {
	var b strings.Builder
	for _, info := range re.r.Modules() {
		fmt.Fprintf(&b, "%s kinds=%s references=%d errors=%d panics=%d\n", info.Name, info.Kinds, info.References, info.Errors, info.Panics)
	}
	return fmt.Sprintf("%skinds=%s veto=%s", b.String(), re.r.Feed().Kinds(), re.r.Feed().DenyKinds())
}

// describe says of an error what model and registry must agree on.
func describe(err error) string {
	var we *Failure
	if errors.As(err, &we) {
		name := we.Module
		if name == "" {
			name = "builtin"
		}
		cause := we.Err.Error()
		if inner := describe(we.Err); inner != "" {
			cause = inner
		}
		return fmt.Sprintf("{%s %s denied=%t: %s}", name, we.Kind, we.Verdict == Denied, cause)
	}
	for _, sentinel := range []error{ErrInvalid, ErrRegistered, ErrNameTaken, ErrNotRegistered, ErrInWatcher} {
		if errors.Is(err, sentinel) {
			return sentinel.Error()
		}
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// play drives the model and the registry with the moves that data holds.
func play(t *testing.T, data []byte, builtin *spec) {
	t.Helper()
	moves := &moveReader{data}
	m := &model{builtin: &stay{spec: builtin, index: -1}}
	re := &real{}
	re.attach(t)
	for i := range poolSize {
		sp := moves.spec(i)
		m.pool = append(m.pool, sp)
		re.modules = append(re.modules, re.module(i, sp))
	}
	if builtinLog != nil {
		*builtinLog = re.say
	}
	for step := 0; len(moves.data) > 0; step++ {
		var want, got, move string
		ended := true // by runtime.Goexit
		var op func()
		switch moves.next(8) {
		case 0, 1:
			i := moves.next(poolSize)
			move, want = fmt.Sprint("register ", i), describe(m.register(i))
			op = func() { got = describe(re.register(i)) }
		case 2:
			i := moves.next(poolSize)
			move, want = fmt.Sprint("unregister ", i), describe(m.unregister(i))
			op = func() { got = describe(re.unregister(i)) }
		case 3:
			count := uint64(step)
			move = "lost"
			m.say("lost %d", count)
			op = func() { re.feed.Deliver(Item{Loss: &Loss{Count: count}}) }
		default:
			k, when := Kind(moves.next(NumKinds)), moment(moves.next(int(numMoments)))
			move = fmt.Sprint("notify ", k, " ", when)
			result, exits := m.notify(k, when)
			want = result
			if exits {
				want = "the goroutine ended"
			}
			op = func() { got = describe(re.notify(k, when)) }
		}
		done := make(chan struct{})
		go func() { // watchers may end it
			defer close(done)
			op()
			ended = false
		}()
		<-done
		if ended {
			got = "the goroutine ended"
		}
		if got != want {
			t.Fatalf("step %d, %s: the result is %q, want %q", step, move, got, want)
		}
		if !slices.Equal(re.log, m.log) {
			t.Fatalf("step %d, %s: called\n%s\nwant\n%s", step, move, strings.Join(re.log, " "), strings.Join(m.log, " "))
		}
		re.log, m.log = nil, nil
		if got, want := re.state(), m.state(); got != want {
			t.Fatalf("step %d, %s: the state is\n%s\nwant\n%s", step, move, got, want)
		}
	}
	// Nobody is left inside: this would wait for ever.
	for _, mod := range re.modules {
		if err := re.r.Unregister(mod); err != nil && !errors.Is(err, ErrNotRegistered) {
			t.Fatal(err)
		}
	}
}

// builtinLog is where built-ins say that they were called, when there are any.
var builtinLog *func(format string, args ...any)

var noBuiltins = &spec{name: "builtin"}

// playSeed plays the moves that are made of seed, and names it on failure.
func playSeed(t *testing.T, seed uint64, builtin *spec) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	data := make([]byte, 600)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	play(t, data, builtin)
}

func TestModel(t *testing.T) {
	for range testutil.Size(100, 300, 300) {
		playSeed(t, rand.Uint64(), noBuiltins)
	}
}

// The same with built-ins, which can be had only once in a process.
func TestModelWithBuiltins(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	sp := *noBuiltins
	var say func(string, ...any)
	builtinLog = &say
	for k, list := range map[Kind][]act{
		Init: {actNothing, actFail}, Exec: {actPanic, actNothing}, UID: {actFail}, Exit: {actGoexit, actNothing}, Free: {actNothing},
	} {
		sp.table[k] = list
		for i, a := range list {
			Builtin(k, func(ev *Event) error {
				say("builtin.%s%d", k, i)
				switch a {
				case actFail:
					return errAct
				case actPanic:
					panic("the watcher's panic")
				case actGoexit:
					runtime.Goexit()
				}
				return nil
			})
		}
	}
	for range 100 {
		playSeed(t, rand.Uint64(), &sp)
	}
}

func FuzzModel(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("register, notify, unregister: any bytes will do"))
	f.Add(slices.Repeat([]byte{1, 2, 3, 5, 7, 11, 13}, 20))
	f.Fuzz(func(t *testing.T, data []byte) { play(t, data[:min(len(data), 2000)], noBuiltins) })
}

// What a system call fails with travels through every layer.
func TestErrnoReachesTheSource(t *testing.T) {
	var r Registry
	mustRegister(t, &r, module("guard", Exec, func(*Event) error {
		return fmt.Errorf("no more: %w", syscall.EAGAIN)
	}))
	if got := Errno(r.Feed().Notify(event(Exec))); got != syscall.EAGAIN {
		t.Errorf("Errno: %v", got)
	}
}
