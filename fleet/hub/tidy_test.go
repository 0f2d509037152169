package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// Files that no entry names any more go, those that a rollout may go back to stay, and so
// does one whose entry is yet to come.
func TestFilesThatNobodyWantsGo(t *testing.T) { eachHub(t, testFilesThatNobodyWantsGo) }

func testFilesThatNobodyWantsGo(t *testing.T, h *running) {
	tm := newTeam(t, h)
	file := func(i int) []byte { return append(make([]byte, fleet.PieceSize), fmt.Sprint(i)...) }
	const versions = entryHistory + 4
	for i := range versions {
		tm.put(t, &fleet.Entry{Module: "m"}, file(i))
	}
	for _, b := range [][]byte{file(versions), []byte("of another module")} {
		if err := tm.Upload(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	tm.put(t, &fleet.Entry{Module: "other"}, []byte("of another module"))
	tm.want(t, &fleet.Entry{Module: "other", Absent: true}, nil)
	there := func() (list []int) {
		for i := range versions + 1 {
			if _, err := tm.Module(t.Context(), fleet.Digest(file(i)), fleet.MaxModule); err == nil {
				list = append(list, i)
			}
		}
		return list
	}
	if got := there(); len(got) != versions+1 {
		t.Fatalf("at first there are %v", got)
	}
	for _, c := range []struct {
		before time.Time
		want   int
	}{{time.Now().Add(-time.Hour), versions + 1}, {time.Now().Add(time.Hour), entryHistory}} {
		h.kill()
		h.start(t)
		tm = newTeam(t, h)
		if err := h.service.store.prune(t.Context(), c.before); err != nil {
			t.Fatal(err)
		}
		if got := there(); len(got) != c.want {
			t.Errorf("of files from before %v there are %v, want %d", c.before, got, c.want)
		}
	}
	if _, err := tm.Module(t.Context(), fleet.Digest([]byte("of another module")), fleet.MaxModule); err != nil {
		t.Errorf("a file that an earlier entry names: %v", err)
	}
}

// A node that is revoked is none any more: it is not listed, also after a restart.
func TestRevokedNodeIsGone(t *testing.T) { eachHub(t, testRevokedNodeIsGone) }

func testRevokedNodeIsGone(t *testing.T, h *running) {
	tm := newTeam(t, h)
	newNode(t, h, tm.keys, "stays", nil)
	gone := newNode(t, h, tm.keys, "goes", nil)
	tm.reported(t, 2)
	if _, err := Revoke(h.dir, gone.id.Key()); err != nil {
		t.Fatal(err)
	}
	tm.reported(t, 1)
	gone.stop()
	h.kill()
	h.start(t)
	tm = newTeam(t, h)
	list, _, err := tm.Nodes(t.Context(), 0)
	if err != nil || len(list) != 1 || list[0].Report.Facts.Name != "stays" {
		t.Errorf("the nodes are %+v, %v", list, err)
	}
}

// A loader that puts a generation of a far time, whose key may be stolen, does not keep
// others from putting theirs; and no operator signs one that a hub has made up.
func TestGenerationFarAhead(t *testing.T) {
	h, tm, n := oneNode(t)
	file := counterModule(t)
	thief, _ := signer(t)
	put := func(generation uint64) error {
		s, err := fleet.SignEntry(thief, &fleet.Entry{Module: "count", Generation: generation, Absent: true, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tm.Ask(t.Context(), &fleet.Request{Op: fleet.Put, Entry: s})
		return err
	}
	for _, generation := range []uint64{1<<64 - 1, 1 << 63, uint64(time.Now().Add(fleet.MaxAhead + time.Hour).UnixMilli())} {
		if err := put(generation); err == nil || !strings.Contains(err.Error(), "one of the clocks is wrong") {
			t.Errorf("generation %d: %v", generation, err)
		}
	}
	if err := put(uint64(time.Now().Add(fleet.MaxAhead - time.Hour).UnixMilli())); err != nil {
		t.Errorf("one of a clock that is ahead: %v", err)
	}
	e := &fleet.Entry{Module: "count"}
	if o := tm.want(t, e, file); len(o.Failed()) > 0 || len(n.FleetModules()) != 1 {
		t.Errorf("behind it, the outcome is %+v", o)
	}
	n.stop()
	h.kill()
	h.start(t)
	tm = &team{tm.key, tm.keys, newTeam(t, h).Conn}
	i, _ := h.service.store.find("count")
	s, err := fleet.SignEntry(thief, &fleet.Entry{Module: "count", Generation: 1<<64 - 2, Absent: true, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	h.service.store.wanted[i].stored.Signed = *s // while it has nothing to do
	next := &fleet.Entry{Module: "count", Absent: true, Expires: time.Now().Add(time.Hour)}
	if err := tm.Put(t.Context(), tm.key, next); err == nil || !strings.Contains(err.Error(), "what the hub has of it: generation") {
		t.Errorf("a hub that makes up generations: %v", err)
	}
}
