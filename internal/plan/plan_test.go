package plan

import (
	"errors"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// supports are all kernels that there can be, as far as hooks are chosen by it.
func supports() (list []*Support) {
	no := errors.New("no")
	for bits := range 1 << 6 {
		var s Support
		for i, to := range []*error{&s.LSM, &s.ModifyReturn, &s.FEntry, &s.PrepareExec, &s.Syscalls, &s.SetGroups} {
			if bits>>i&1 == 1 {
				*to = no
			}
		}
		list = append(list, &s)
	}
	return list
}

// Whatever a kernel has: no hook is used twice, each calls something, and one event
// of a task is seen at one place.
func TestHooks(t *testing.T) {
	for _, s := range supports() {
		names, seen := map[string]bool{}, map[taskwatch.Kind]int{}
		for _, h := range Hooks(s) {
			if names[h.Name] || len(h.Calls) == 0 {
				t.Errorf("%+v: hook %s is there twice, or calls nothing", s, h.Name)
			}
			names[h.Name] = true
			for _, c := range h.Calls {
				if c.To == Everyone || c.To == Observers && !h.Veto {
					seen[c.Kind]++
				}
				if c.To == OnceVetoed && !h.Veto {
					t.Errorf("%+v: %s cannot deny anything", s, h.Name)
				}
			}
		}
		for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Clone, taskwatch.Exec, taskwatch.Exit, taskwatch.Free} {
			if seen[k] != 1 {
				t.Errorf("%+v: %s is seen at %d places, want 1", s, k, seen[k])
			}
		}
	}
}

// What is said of the events is what the hooks do.
func TestEvents(t *testing.T) {
	for _, s := range supports() {
		for k, e := range s.Events() {
			kind := taskwatch.Kind(k)
			if denies := s.LSM == nil || s.ModifyReturn == nil; (e.Veto != "") != (denies && kind.Vetoable()) {
				t.Errorf("%+v: %s can be denied at %q", s, kind, e.Veto)
			}
			if len(e.Observe) == 0 && e.Why == "" {
				t.Errorf("%+v: %s is not seen, without a reason", s, kind)
			}
			if e.Skippable && s.LSM == nil {
				t.Errorf("%+v: a denial of %s is skipped by a hook of LSM", s, kind)
			}
		}
	}
}

func TestLists(t *testing.T) {
	for e := range NumLists {
		got, err := ParseList(e.String())
		if err != nil || got != e {
			t.Errorf("list %d has the name %s, which is that of %d, %v", e, e, got, err)
		}
		if _, event := e.Kind(); event != (e < taskwatch.NumKinds) {
			t.Errorf("list %s is of an event: %v", e, event)
		}
	}
	if e, err := ParseList("nothing"); err == nil {
		t.Errorf("there is a list %s", e)
	}
}
