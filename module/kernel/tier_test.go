package kernel

import (
	"errors"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
)

// tiers returns what this kernel supports, and what is left of it with one
// tier after the other turned off: what other kernels have.
func tiers(t testing.TB) (names []string, list []*Support) {
	t.Helper()
	off := errors.New("turned off for a test")
	s := *support(t)
	add := func(name string) {
		tier := s
		names, list = append(names, name), append(list, &tier)
	}
	if s.LSM == nil {
		add("LSM")
		s.LSM = off
	}
	if s.ModifyReturn == nil {
		add("fmod_ret")
		s.ModifyReturn = off
	}
	if s.FEntry == nil {
		add("fentry")
		s.FEntry = off
	}
	add("tracepoints")
	if testing.Short() && support(t).LSM != nil {
		t.Log("short: the best tier; where LSM programs run, all are tried")
		return names[:1], list[:1]
	}
	return names, list
}

// Every tier tells every event once, and a denial has its effect, or is
// rejected itself.
func TestEveryTier(t *testing.T) {
	names, supports := tiers(t)
	t.Logf("tiers: %s", strings.Join(names, ", "))
	for i, s := range supports {
		t.Run(names[i], func(t *testing.T) {
			table := newTable(t, Config{Support: s})
			w := startLoad(t, 20, 10, 5)
			count := loadFile(t, "count", countC, param("pid", w.pid()))
			register(t, table, count)
			w.run()
			checkCounts(t, count, 20, 10, 5)

			m := loadFile(t, "veto", vetoC, "comm=twvetoed", "on_init=y", "on_exec=y", "on_uid=y", "on_gid=y")
			err := table.Register(m, RegisterOptions{AllowBestEffort: true})
			if s.LSM == nil || s.ModifyReturn == nil {
				if err != nil {
					t.Fatal(err)
				}
				if got, want := attempt(t), "fork=11 exec=11 uid=11 gid=11"; got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			} else {
				wantError(t, err, module.ErrNoVeto, "init,exec,uid,gid")
				if err := table.Register(m, RegisterOptions{AllowObserveOnly: true}); err != nil {
					t.Fatal(err)
				}
				allowed(t)
			}
			refused := global(t, m, "refused")
			changes := s.FEntry == nil || s.Syscalls == nil // else those by exec alone are seen
			if asked := global(t, m, "asked"); changes && (asked != 4 || refused != 4) {
				t.Errorf("asked %d times and refused %d, want 4", asked, refused)
			}
			if err := table.Unregister(m); err != nil {
				t.Fatal(err)
			}
			allowed(t)
			for k, e := range s.Events() {
				if len(e.Observe) == 0 {
					t.Errorf("%s has no hook", taskwatch.Kind(k))
				}
			}
		})
	}
}
