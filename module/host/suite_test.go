package host_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/host"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// loader is one kind of modules under the suite.
type loader struct {
	host *host.Host

	// file returns a file of a module that counts execs, under a name.
	file func(t testing.TB, name string) *host.File

	params map[string]string // that the module is loaded with

	// exec has one exec happen that it counts, and returns when it is over.
	exec func(t testing.TB)

	// loaded, if set, is called with each module that is loaded.
	loaded func(m host.Module)

	// count returns how many it has counted.
	count func(t testing.TB, m host.Module) uint64

	bad map[string]string // a parameter with what is no value of its; nil where there is none
}

func (l *loader) load(t *testing.T, name string) host.Module {
	t.Helper()
	f := l.file(t, name)
	m, err := l.host.Load(f, host.Options{Params: l.params})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if l.loaded != nil {
		l.loaded(m)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (l *loader) counts(t *testing.T, m host.Module, want uint64) {
	t.Helper()
	got := l.count(t, m)
	for until := time.Now().Add(time.Minute); got != want && time.Now().Before(until); got = l.count(t, m) {
		time.Sleep(time.Millisecond)
	}
	if got != want {
		t.Errorf("it has counted %d execs, want %d", got, want)
	}
}

func start(t *testing.T, m host.Module) {
	t.Helper()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
}

// suite holds a kind of modules to what [host.Module] says.
func (l *loader) suite(t *testing.T, kind string) {
	t.Run("life", func(t *testing.T) {
		m := l.load(t, "life")
		info := m.Info()
		if info.Name != "life" || info.Kind != kind || info.Kinds() != taskwatch.KindsOf(taskwatch.Exec) || len(info.Watchers) != 1 || len(info.Veto) != 0 {
			t.Errorf("it says of itself %+v", info)
		}
		l.exec(t)
		l.counts(t, m, 0) // it is loaded, and not started
		if err := m.Check(); err != nil {
			t.Errorf("check: %v", err)
		}
		start(t, m)
		if s, err := m.Stats(); err != nil || s.Kinds != taskwatch.KindsOf(taskwatch.Exec) || s.Calls.Errors != 0 || s.Quarantined {
			t.Errorf("started: %+v, %v", s, err)
		}
		for range 3 {
			l.exec(t)
		}
		l.counts(t, m, 3)
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		if s, err := m.Stats(); err != nil || s.Kinds != 0 {
			t.Errorf("stopped: %+v, %v", s, err)
		}
		l.exec(t)
		l.counts(t, m, 3)
		start(t, m)
		l.exec(t)
		l.counts(t, m, 4)
	})

	// Each error has the one type, names the module, and leaves what runs.
	t.Run("errors", func(t *testing.T) {
		m := l.load(t, "errors")
		fails := func(what string, err, want error) {
			t.Helper()
			var e *host.Error
			if !errors.As(err, &e) || e.Module != "errors" || !errors.Is(err, want) {
				t.Errorf("%s: %v (%T), want a *host.Error of the module with %v", what, err, err, want)
			}
		}
		fails("stop what is not started", m.Stop(), taskwatch.ErrNotRegistered)
		start(t, m)
		fails("start it twice", m.Start(), taskwatch.ErrRegistered)
		twin := l.load(t, "errors")
		fails("start another of its name", twin.Start(), taskwatch.ErrNameTaken)
		l.exec(t)
		l.counts(t, m, 1)
		l.counts(t, twin, 0)
		f := l.file(t, "errors")
		defer f.Close()
		for _, params := range []map[string]string{{"no_such": "1"}, l.bad} {
			if params != nil {
				_, err := l.host.Load(f, host.Options{Params: params})
				fails("loaded with bad parameters", err, taskwatch.ErrInvalid)
			}
		}
	})

	// What is closed while it runs is stopped first, and leaves its name.
	t.Run("close", func(t *testing.T) {
		for range 3 {
			f := l.file(t, "closed")
			m, err := l.host.Load(f, host.Options{Params: maps.Clone(l.params)})
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			if l.loaded != nil {
				l.loaded(m)
			}
			start(t, m)
			l.exec(t)
			l.counts(t, m, 1)
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
