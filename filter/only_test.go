package filter

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestOnly(t *testing.T) {
	uids := func(ids ...uint32) taskwatch.Only { return taskwatch.Only{UIDs: ids} }
	exec := taskwatch.KindsOf(taskwatch.Exec)
	for _, c := range []struct {
		expr  string
		kinds taskwatch.Kinds
		want  taskwatch.Only
	}{
		{"uid == 7", taskwatch.AllKinds, uids(7)},
		{"7 == uid && comm.startsWith('a')", exec, uids(7)},
		{"uid in [7, 8] && uid in [8, 9]", exec, uids(8)},
		{"uid == 7 && pid == 3", exec, taskwatch.Only{UIDs: []uint32{7}, PIDs: []int{3}}},
		{"uid == 7 && pid == 3", taskwatch.AllKinds, uids(7)}, // the free of a failed fork has no pid
		{"uid == 7 || pid == 3", exec, taskwatch.Only{}},
		{"!(uid == 7)", exec, taskwatch.Only{}},
		{"uid != 7", exec, taskwatch.Only{}},
		{"euid == 7", exec, taskwatch.Only{}},
		{"uid == 7 && tree(1)", exec, taskwatch.Only{}},
		{"uid == 7 && parent.exe == '/x'", exec, taskwatch.Only{}},
		{"uid == -1", exec, taskwatch.Only{}},
		{"comm == 'cc1'", taskwatch.AllKinds, taskwatch.Only{Comms: []string{"cc1"}}},
		{"comm in ['a', 'b', 'longer-than-a-name'] && uid == 7", exec, taskwatch.Only{UIDs: []uint32{7}, Comms: []string{"a", "b"}}},
		{"comm == 'longer-than-a-name'", exec, taskwatch.Only{}},
		{"comm == 'a' || exe == '/b'", exec, taskwatch.Only{}},
		{"comm == 'a' && old_exe == '/b'", exec, taskwatch.Only{}}, // which is unknown of a task that was nobody's before
		{"cgroup_id == 12 && uid == 7", exec, taskwatch.Only{UIDs: []uint32{7}, CgroupIDs: []uint64{12}}},
		{"cgroup_id in [12, -1]", exec, taskwatch.Only{CgroupIDs: []uint64{12}}},
	} {
		if got := parse(t, c.expr).Only(c.kinds); !reflect.DeepEqual(got, c.want) && !(got.All() && c.want.All()) {
			t.Errorf("%s of %v: %+v, want %+v", c.expr, c.kinds, got, c.want)
		}
	}
}

// Whatever a random expression chooses is among what Only says.
func TestOnlyReference(t *testing.T) {
	r := exprMaker{rand.New(rand.NewPCG(17, 1))}
	const fields = taskwatch.FieldUID | taskwatch.FieldPID | taskwatch.FieldComm
	narrow, chosen := 0, 0
	expressions := testutil.Size(600, 2000, 2000)
	for range expressions {
		expr := r.expr(2)
		if r.IntN(2) == 0 {
			expr = r.of(r.of("uid", "pid", "cgroup_id")+" in ["+r.number()+", "+r.number()+"]", "comm in ["+r.word()+", "+r.word()+"]") + " && " + expr
		}
		f := parse(t, expr)
		for range 20 {
			ev := r.event()
			x := taskwatch.Extra{}
			if ev.Extra != nil {
				x = *ev.Extra
			}
			x.Given |= taskwatch.FieldCgroupID & taskwatch.OptionalOf(ev.Kind)
			x.CgroupID = uint64(r.IntN(4))
			ev.Extra = &x
			only := f.Only(taskwatch.KindsOf(ev.Kind))
			if only.All() || ev.Missing&fields != 0 { // the kernel knows both
				continue
			}
			narrow++
			if f.Match(taskwatch.Item{Event: ev}, nil) == No {
				continue
			}
			chosen++
			if has(only.UIDs, ev.Task.UID[taskwatch.RealID]) && has(only.PIDs, ev.Task.PID) && has(only.CgroupIDs, ev.Extra.CgroupID) && has(only.Comms, ev.Task.Comm) {
				continue
			}
			t.Fatalf("%s chooses %+v, %+v, which %+v leaves out", expr, ev, ev.Task, only)
		}
	}
	if narrow < expressions/2 || chosen < expressions/20 {
		t.Errorf("%d events were asked about, %d were chosen: too few", narrow, chosen)
	}
}

// has reports whether a value is among those that are wanted.
func has[T comparable](wanted []T, v T) bool { return len(wanted) == 0 || slices.Contains(wanted, v) }

// An expression that is made of what is wanted wants that.
func TestExpression(t *testing.T) {
	for _, only := range []taskwatch.Only{
		{UIDs: []uint32{7, math.MaxUint32}},
		{PIDs: []int{3}, Comms: []string{"a", "a b", `"\\'`, "\u00e9\u200b", "\n\x01"}},
		{UIDs: []uint32{0}, PIDs: []int{1, 2}, CgroupIDs: []uint64{1, 1 << 47}, Comms: []string{""}},
	} {
		if got := parse(t, Expression(only)).Only(taskwatch.KindsOf(taskwatch.Exec)); !reflect.DeepEqual(got, only) {
			t.Errorf("%s: %+v, want %+v", Expression(only), got, only)
		}
	}
	if got := Expression(taskwatch.Only{}); got != "" {
		t.Errorf("of everything: %q", got)
	}
}
