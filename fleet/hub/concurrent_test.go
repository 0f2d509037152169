package hub

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
)

// What another operator says in the middle of a rollout is not undone by its next step, nor
// by its way back.
func TestOperatorsAtTheSameTime(t *testing.T) {
	file := counterModule(t)
	h := startHub(t)
	tm := newTeam(t, h)
	other := &operator.Conn{Conn: h.dial(t, fleet.Loader, "other", nil)}
	nodes := newNodes(t, h, tm, 3)
	if err := tm.Upload(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	last := func() *operator.Wanted {
		all, err := tm.Wanted(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return all["count"]
	}
	for _, back := range []bool{false, true} {
		stop := &fleet.Entry{Module: "count", Absent: true, Expires: time.Now().Add(time.Hour)}
		var steps []int
		r := operator.Rollout{Key: tm.key, Step: 1, Rollback: back, Timeout: patient, OnStep: func(done, _ int, _ *operator.Outcome) {
			steps = append(steps, done)
			if err := other.Put(t.Context(), tm.key, stop); err != nil {
				t.Fatal(err)
			}
		}}
		e := &fleet.Entry{Module: "count", Digest: fleet.Digest(file), Expires: time.Now().Add(time.Hour)}
		if err := r.Run(t.Context(), tm.Conn, e); !errors.Is(err, operator.ErrChanged) || !slices.Equal(steps, []int{1}) {
			t.Errorf("the rollout ends with %v after the steps %v", err, steps)
		}
		if w := last(); !w.Absent || w.Generation != stop.Generation {
			t.Errorf("the hub has %+v", w.Entry)
		}
	}
	// It fails behind what the other one has said: there is no way back over that.
	stop := &fleet.Entry{Module: "count", Absent: true, Expires: time.Now().Add(time.Hour)}
	bad := &fleet.Entry{Module: "count", Digest: fleet.Digest(file), Expires: time.Now().Add(time.Hour), Params: map[string]string{"speed": "9"}}
	r := operator.Rollout{Key: tm.key, Step: 1, Rollback: true, Timeout: patient, OnStep: func(int, int, *operator.Outcome) {
		if err := other.Put(t.Context(), tm.key, stop); err != nil {
			t.Fatal(err)
		}
	}}
	if err := r.Run(t.Context(), tm.Conn, bad); !errors.Is(err, operator.ErrFailed) || !errors.Is(err, operator.ErrChanged) {
		t.Errorf("the rollout that fails ends with %v", err)
	}
	if w := last(); w.Generation != stop.Generation {
		t.Errorf("the hub has %+v", w.Entry)
	}
	for _, n := range nodes {
		eventually(t, "the node follows the last one", func() bool {
			r := tm.report(t, n, "count")
			return r.Generation == stop.Generation && len(n.FleetModules()) == 0
		})
	}
}

// Renewals end where somebody else has said something of the module; and the hub takes no
// entry behind one that is not there any more.
func TestRenewalsEnd(t *testing.T) {
	h := startHub(t)
	tm := newTeam(t, h)
	entry := func() *fleet.Entry {
		return &fleet.Entry{Module: "m", Absent: true, Expires: time.Now().Add(time.Hour)}
	}
	mine, others := &operator.Series{Conn: tm.Conn, Key: tm.key}, &operator.Series{Conn: tm.Conn, Key: tm.key}
	first := entry()
	for _, e := range []*fleet.Entry{first, entry(), entry()} {
		if err := mine.Put(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if err := others.Put(t.Context(), entry()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := mine.Put(t.Context(), entry()); !errors.Is(err, operator.ErrChanged) {
			t.Errorf("a renewal behind the entry of somebody else: %v", err)
		}
	}
	if err := others.Put(t.Context(), entry()); err != nil {
		t.Errorf("the other one goes on: %v", err)
	}
	next := entry()
	next.Generation = uint64(time.Now().Add(time.Minute).UnixMilli())
	signed, err := fleet.SignEntry(tm.key, next)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Put, Entry: signed, Revision: first.Generation}); err == nil || !strings.Contains(err.Error(), "somebody else has changed it") {
		t.Errorf("an entry behind an earlier one: %v", err)
	}
	if _, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Put, Entry: signed}); err != nil {
		t.Error(err)
	}
}
