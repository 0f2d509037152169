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
)

// The registry against a model that is so plain that it can be read at a
// glance: slices walked in order, no concurrency, no panics, no snapshots. A
// string of bytes makes the modules and says what happens to them; both are
// driven by it and have to agree after every step, on the calls made, in
// order, and on everything that can be asked.

// act is what a watcher or hook does when it is called.
type act byte

const (
	actNothing act = iota
	actFail
	actPanic
	actGoexit
	actUnregisterSelf
	actRegisterNext // the module behind it in the pool
	actNotify       // another kind of event, in the middle of this one
	numActs
)

var errAct = errors.New("the watcher's error")

// spec describes one module of the pool.
type spec struct {
	name     string
	observer bool
	table    [NumKinds][]act
	onError  int // an act, or -1 for no hook
	onLost   int
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
	sp := &spec{name: fmt.Sprint("m", i), onError: -1, onLost: -1}
	switch m.next(8) {
	case 0:
		sp.name = "m0" // taken, more often than not
	case 1:
		sp.observer = true
	case 2:
		sp.onError = m.next(int(actGoexit) + 1)
	case 3:
		sp.onLost, sp.observer = m.next(int(actGoexit)+1), true
	case 4:
		sp.onError, sp.onLost = m.next(int(actGoexit)+1), m.next(int(actGoexit)+1)
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

// model is the registry as it ought to be.
type model struct {
	builtin *stay
	pool    []*spec
	stays   []*stay
	log     []string
	depth   int
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
	if sp.badTable || sp.kinds() == 0 && sp.onError < 0 && sp.onLost < 0 {
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
// goroutine ends.
func (m *model) notify(k Kind, when moment) (result string, exits bool) {
	m.depth++
	defer func() { m.depth-- }()
	stays := m.stays
	vetoed := false
	for _, s := range append([]*stay{m.builtin}, stays...) {
		if when == before && s.observer || when == after && !s.observer {
			continue
		}
		for i, a := range s.table[k] {
			m.say("%s.%s%d", s.name, k, i)
			cause := ""
			switch a {
			case actFail:
				cause = errAct.Error()
			case actPanic:
				cause = "panic: the watcher's panic"
			case actGoexit:
				cause, exits = errGoexit.Error(), true
			case actUnregisterSelf:
				cause = describe(m.unregister(s.index))
			case actRegisterNext:
				cause = describe(m.register((s.index + 1) % poolSize))
			case actNotify:
				if m.depth < 3 {
					inner, ends := m.notify((k+1)%NumKinds, always)
					if ends {
						cause, exits = errGoexit.Error(), true
					} else {
						cause = inner
					}
				}
			}
			if cause == "" {
				continue
			}
			crash := cause == errGoexit.Error() || a == actPanic
			veto := !crash && !s.observer && !vetoed && (k == Init || k == Exec || k == UID || k == GID)
			if crash {
				s.panics++
			} else {
				s.errors++
			}
			what := fmt.Sprintf("{%s %s veto=%t: %s}", s.name, k, veto, cause)
			if veto {
				vetoed = true
			}
			if result == "" || veto && !strings.Contains(result[:strings.Index(result, ":")], "veto=true") {
				result = what
			}
			for _, h := range stays {
				if h.onError >= 0 {
					m.say("%s.OnError%s", h.name, what)
					exits = m.hook(h, h.onError) || exits
				}
			}
		}
	}
	return result, exits
}

func (m *model) hook(s *stay, a int) (exits bool) {
	if act(a) == actPanic || act(a) == actGoexit {
		s.panics++
	}
	return act(a) == actGoexit
}

func (m *model) lost(count uint64) (exits bool) {
	for _, s := range m.stays {
		if s.onLost >= 0 {
			m.say("%s.OnLost(%d)", s.name, count)
			exits = m.hook(s, s.onLost) || exits
		}
	}
	return exits
}

func (m *model) state() string {
	var all, veto Kinds
	all, veto = m.builtin.kinds(), m.builtin.kinds()
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
	modules []*Module
	log     []string
	depth   int
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
		}
		return nil
	}
}

func (re *real) module(i int, sp *spec) *Module {
	m := &Module{Name: sp.name, Observer: sp.observer}
	for k, list := range sp.table {
		for at, a := range list {
			m.Table[k] = append(m.Table[k], re.watcher(i, sp.name, Kind(k), at, a))
		}
	}
	if sp.badTable {
		m.Table[Free] = append(m.Table[Free], nil)
	}
	hook := func(a int) {
		switch act(a) {
		case actPanic:
			panic("the hook's panic")
		case actGoexit:
			runtime.Goexit()
		}
	}
	if sp.onError >= 0 {
		m.OnError = func(we *WatcherError) {
			re.say("%s.OnError%s", sp.name, describe(we))
			hook(sp.onError)
		}
	}
	if sp.onLost >= 0 {
		m.OnLost = func(l Loss) {
			re.say("%s.OnLost(%d)", sp.name, l.Count)
			hook(sp.onLost)
		}
	}
	return m
}

func (re *real) register(i int) error   { return re.r.Register(re.modules[i]) }
func (re *real) unregister(i int) error { return re.r.Unregister(re.modules[i]) }

func (re *real) notify(k Kind, when moment) error {
	re.depth++
	defer func() { re.depth-- }()
	ev := event(k)
	switch when {
	case before:
		return re.r.NotifyBefore(ev)
	case after:
		return re.r.NotifyAfter(ev)
	}
	return re.r.Notify(ev)
}

func (re *real) state() string {
	var b strings.Builder
	for _, info := range re.r.Modules() {
		fmt.Fprintf(&b, "%s kinds=%s references=%d errors=%d panics=%d\n", info.Name, info.Kinds, info.References, info.Errors, info.Panics)
	}
	return fmt.Sprintf("%skinds=%s veto=%s", b.String(), re.r.Kinds(), re.r.VetoKinds())
}

// describe says of an error what model and registry must agree on.
func describe(err error) string {
	var we *WatcherError
	if errors.As(err, &we) {
		name := we.Module
		if name == "" {
			name = "builtin"
		}
		cause := we.Err.Error()
		if inner := describe(we.Err); inner != "" {
			cause = inner
		}
		return fmt.Sprintf("{%s %s veto=%t: %s}", name, we.Kind, we.Veto, cause)
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
			if m.lost(count) {
				want = "the goroutine ended"
			}
			op = func() { re.r.NotifyLost(Loss{Count: count}) }
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

var noBuiltins = &spec{name: "builtin", onError: -1, onLost: -1}

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
	for range 300 {
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
	mustRegister(t, &r, &Module{Name: "guard", Table: on(Exec, func(*Event) error {
		return fmt.Errorf("no more: %w", syscall.EAGAIN)
	})})
	if got := Errno(r.Notify(event(Exec))); got != syscall.EAGAIN {
		t.Errorf("Errno: %v", got)
	}
}
