package watchtest

import (
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
)

func TestAttach(t *testing.T) {
	Attach(t, AttachConfig{Lossless: true, Rounds: 20, New: func(t testing.TB) AttachInstance { return NewCrowd(t, goLives) }})
}

// goLives is conform_lives.c in Go.
func goLives(_ *taskwatch.Registry, errno int) *HostedLives {
	type life struct{ met, gone bool }
	var mu sync.Mutex // the tasks are those of one source, but a visit may be another goroutine's
	counts := map[string]uint64{}
	lives := taskwatch.NewStorage[*life]()
	begin := func(what string) taskwatch.Watcher {
		return func(ev *taskwatch.Event) error {
			mu.Lock()
			defer mu.Unlock()
			counts[what]++
			l, _ := lives.Get(ev.Task)
			if l == nil {
				l = &life{}
				lives.Set(ev.Task, l)
			}
			if l.met {
				counts["twice"]++
			}
			l.met = true
			return livesError(ev, errno)
		}
	}
	between := func(ev *taskwatch.Event) error {
		mu.Lock()
		defer mu.Unlock()
		if l, _ := lives.Get(ev.Task); l == nil || !l.met || l.gone {
			counts["unknown"]++
		}
		return nil
	}
	end := func(what string) taskwatch.Watcher {
		return func(ev *taskwatch.Event) error {
			mu.Lock()
			defer mu.Unlock()
			counts[what]++
			l, _ := lives.Get(ev.Task)
			switch {
			case l == nil || !l.met:
				counts["unknown"]++
				return nil
			case l.gone:
				counts["twice"]++
			}
			l.gone = true
			return livesError(ev, errno)
		}
	}
	m := &taskwatch.Module{Name: fmt.Sprintf("lives%p", &mu)}
	m.Watch(taskwatch.Attach, begin("attaches"))
	m.Watch(taskwatch.Init, begin("inits"))
	for _, k := range []taskwatch.Kind{taskwatch.Clone, taskwatch.Exec, taskwatch.Exit} {
		m.Watch(k, between)
	}
	m.Watch(taskwatch.Free, end("frees"))
	m.Watch(taskwatch.Detach, end("detaches"))
	return &HostedLives{Module: m, Met: func(what string) uint64 {
		mu.Lock()
		defer mu.Unlock()
		return counts[what]
	}}
}

func livesError(ev *taskwatch.Event, errno int) error {
	if errno == 0 || ev.Kind != taskwatch.Attach && ev.Kind != taskwatch.Detach {
		return nil
	}
	return syscall.Errno(errno)
}
