package kernel

import (
	"reflect"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// What was skipped is counted for the modules that were there then: one that has
// gone keeps its number, one that came later has none of it.
func TestSkippedIsOfTheModulesOfThatTime(t *testing.T) {
	exec := taskwatch.KindsOf(taskwatch.Exec)
	h := &plan.Hook{Name: "fmod_ret/security_bprm_creds_for_exec", Veto: true, Calls: []plan.Call{{Kind: taskwatch.Exec, To: plan.Deciders}}}
	table := &Table{plan: []*plan.Hook{h}, missed: map[*plan.Hook]uint64{h: 2}, skipped: map[*plan.Hook][]Skipped{}}
	list := func(name string, veto taskwatch.Kinds) *listing {
		t.Helper()
		l := &listing{Module: link.Module{Code: &link.Code{Veto: veto}, Kinds: exec}, object: &Object{Name: name, Veto: veto}}
		l.Watched[taskwatch.Exec] = []link.Watcher{{}}
		var err error
		if l.missed, err = table.allMissed(); err != nil {
			t.Fatal(err)
		}
		table.modules = append(table.modules, l)
		return l
	}
	leave := func(l *listing) {
		t.Helper()
		now, err := table.allMissed()
		if err != nil {
			t.Fatal(err)
		}
		table.settleSkipped(l, now)
		table.modules = table.modules[1:]
	}
	want := func(want ...Skipped) {
		t.Helper()
		all, err := table.Missed()
		if err != nil || len(all) != 1 || all[0].Count != table.missed[h] || !reflect.DeepEqual(all[0].Skipped, want) {
			t.Errorf("%+v, %v; want %+v", all, err, want)
		}
	}
	want()
	first := list("first", exec)
	list("observer", 0)
	want()
	table.missed[h] += 5
	want(Skipped{"first", exec, 5})
	leave(first)
	want(Skipped{"first", exec, 5})
	table.missed[h] += 10 // while nobody decides
	second := list("second", exec)
	table.missed[h] += 3
	want(Skipped{"first", exec, 5}, Skipped{"second", exec, 3})
	if missed, skipped := table.missedBy(second, table.missed); missed != 3 || skipped != 3 {
		t.Errorf("%d missed and %d skipped, want 3 and 3", missed, skipped)
	}
	list("first", exec) // again
	table.missed[h]++
	want(Skipped{"first", exec, 6}, Skipped{"second", exec, 4})
	table.dryRun = true // in which nothing is denied
	want(Skipped{"first", exec, 5})
}
