package wasm

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/watchtest"
)

// Modules in the sandbox, written in C, in a registry.
func TestConformance(t *testing.T) {
	for _, synchronous := range []bool{false, true} {
		t.Run(fmt.Sprintf("synchronous=%t", synchronous), func(t *testing.T) {
			watchtest.Registry(t, watchtest.RegistryConfig{
				Kinds: taskwatch.AllKinds, Veto: vetoable, Queued: !synchronous, Crash: true, Crashes: maxCrashes - 1, Inside: true, Stays: 15,
				New: func(t testing.TB, log *watchtest.CallLog) watchtest.RegistryInstance {
					return watchtest.NewHosted(t, log, func(reg *taskwatch.Registry, spec watchtest.ModuleSpec) *watchtest.HostedModule {
						return conforming(t, reg, log, spec, synchronous)
					})
				},
			})
		})
	}
}

const vetoable taskwatch.Kinds = 1<<taskwatch.Init | 1<<taskwatch.Exec | 1<<taskwatch.UID | 1<<taskwatch.GID

// conforming makes a module as the suite wants it.
func conforming(t testing.TB, reg *taskwatch.Registry, log *watchtest.CallLog, spec watchtest.ModuleSpec, synchronous bool) *watchtest.HostedModule {
	o, err := Parse(spec.Name, buildFile(t, fmt.Sprintf("../../../internal/watchtest/testdata/modules/conform_%s.c", spec.Shape)))
	if err != nil {
		return &watchtest.HostedModule{Err: err}
	}
	defer o.Close()
	m := load(t, o, LoadOptions{
		Synchronous: synchronous,
		Deadline:    10 * time.Second, // the suite makes watchers wait
		Params: map[string]string{
			"quiet": fmt.Sprint(spec.Quiet), "fail_kinds": fmt.Sprint(uint8(spec.Fail.Kinds)), "fail_at": fmt.Sprint(spec.Fail.Watcher),
			"errno": fmt.Sprint(int(spec.Fail.Errno)), "crash": fmt.Sprint(spec.Fail.Crash),
		},
		Feed: reg.Feed(),
	})
	hear(m, func(data []byte) {
		le := binary.LittleEndian
		log.Call(watchtest.WatcherCall{
			Module: spec.Name, Watcher: int(le.Uint32(data[4:])), Kind: taskwatch.Kind(le.Uint32(data)), Val: le.Uint64(data[8:]),
		})
	})
	globals := func() map[string]any {
		list, err := m.Globals(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		values := map[string]any{}
		for _, g := range list {
			values[g.Name] = g.Value
		}
		return values
	}
	return &watchtest.HostedModule{
		Module: m.Watchers(vetoable),
		Count: func() (own [taskwatch.NumKinds]uint64, ran uint64) {
			values := globals()
			for k, n := range values["own"].([]any) {
				own[k] = n.(uint64)
			}
			return own, values["ran"].(uint64)
		},
		Settle: func() {
			for m.Stats().Queued > 0 {
				time.Sleep(10 * time.Microsecond)
			}
			globals() // waits for a call that runs
		},
		Failures: func() (errors, crashes uint64) {
			s := m.Stats()
			return s.Errors, s.Crashes
		},
	}
}

// Modules in the sandbox meet tasks that exist like any other.
func TestAttachConformance(t *testing.T) {
	for _, synchronous := range []bool{false, true} {
		t.Run(fmt.Sprintf("synchronous=%t", synchronous), func(t *testing.T) {
			watchtest.Attach(t, watchtest.AttachConfig{Lossless: true, Rounds: 3, New: func(t testing.TB) watchtest.AttachInstance {
				return watchtest.NewCrowd(t, func(reg *taskwatch.Registry, errno int) *watchtest.HostedLives {
					return lives(t, reg, errno, synchronous)
				})
			}})
		})
	}
}

func lives(t testing.TB, reg *taskwatch.Registry, errno int, synchronous bool) *watchtest.HostedLives {
	o := parse(t, "../../../internal/watchtest/testdata/modules/conform_lives.c")
	m := load(t, o, LoadOptions{
		Synchronous: synchronous, Deadline: 10 * time.Second, Feed: reg.Feed(),
		Params: map[string]string{"errno": fmt.Sprint(errno)},
	})
	return &watchtest.HostedLives{
		Module: m.Watchers(vetoable),
		Close:  m.Close,
		Settle: func() {
			for m.Stats().Queued > 0 {
				time.Sleep(10 * time.Microsecond)
			}
		},
		Met: func(what string) uint64 {
			list, err := m.Globals(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range list {
				if g.Name == what {
					return g.Value.(uint64)
				}
			}
			t.Fatalf("no variable %s", what)
			return 0
		},
	}
}
