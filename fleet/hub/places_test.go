package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// One loader cannot take all places for modules, nor have all nodes read without end; what
// unloads a module needs no place, and who has a place keeps it.
func TestPlacesOfOneLoader(t *testing.T) {
	s := &store{}
	alice, mallory, carol := &Client{ID: "1", Name: "alice"}, &Client{ID: "2", Name: "mallory"}, &Client{ID: "3", Name: "carol"}
	put := func(c *Client, module string, size int, absent bool) error {
		e, signed := &fleet.Entry{Module: module, Absent: absent}, &fleet.Signed{Text: strings.Repeat("x", size)}
		by, err := s.place(c, e, signed)
		if err == nil {
			s.remember(e, signed, by)
		}
		return err
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	rejected := func(err error, says string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "taskwatch fleet rmmod") {
			t.Errorf("the error is %v, want one that says %q and what to do", err, says)
		}
	}
	must(put(alice, "good", 700, false))
	for i := range fleet.MaxDesiredOfOne {
		must(put(mallory, fmt.Sprint("bad", i), 700, false))
	}
	rejected(put(mallory, "one-more", 700, false), "module one-more: the hub has 500 modules of mallory, and takes no more of one loader")
	rejected(put(mallory, "one-more", 700, true), "takes no more of one loader")
	rejected(put(mallory, "good", 700, false), "takes no more of one loader")
	must(put(mallory, "bad7", 900, false))
	must(put(mallory, "good", 500, true))
	must(put(alice, "good", 700, false))
	must(put(alice, "bad7", 500, true))
	rejected(put(mallory, "one-more", 700, false), "takes no more of one loader") // alice has unloaded one of mallory's

	for i := range fleet.MaxDesiredBytesOfOne/fleet.MaxSigned - 1 {
		must(put(alice, fmt.Sprint("long", i), fleet.MaxSigned, false))
	}
	rejected(put(alice, "long", fleet.MaxSigned, false), fmt.Sprintf("module long: with its %d bytes, the entries of alice would have 2097852 bytes, and those of one loader may have 2097152: shorten ", fleet.MaxSigned))
	rejected(put(alice, "long0", 2*fleet.MaxSigned, true), "those of one loader may have 2097152") // it unloads, and is long
	must(put(alice, "long", 1000, false))
	must(put(alice, "long0", 500, true))

	for i := range fleet.MaxDesired - len(s.wanted) {
		must(put(&Client{ID: fmt.Sprint("other", i)}, fmt.Sprint("other", i), 700, false))
	}
	rejected(put(carol, "carol", 700, false), "module carol: the hub has 1000 modules, and no place for more")
	must(put(carol, "good", 700, false))
}

// Whose an entry is, is there after a restart.
func TestPlacesAreStored(t *testing.T) { eachHub(t, testPlacesAreStored) }

func testPlacesAreStored(t *testing.T, h *running) {
	tm, other := newTeam(t, h), newTeam(t, h)
	for module, by := range map[string]*team{"a": tm, "b": other} {
		by.put(t, &fleet.Entry{Module: module}, []byte("x"))
	}
	by := func() (list []string) {
		for _, w := range h.service.store.wanted {
			list = append(list, w.stored.Module+" "+w.by)
		}
		return list
	}
	h.kill()
	h.start(t)
	got := by()
	if ids := []string{"a " + h.clients.byTheKey(tm.Key()).ID, "b " + h.clients.byTheKey(other.Key()).ID}; fmt.Sprint(got) != fmt.Sprint(ids) {
		t.Errorf("after a restart, the entries are those of %q, want %q", got, ids)
	}
}

// A module that is unloaded everywhere is forgotten when no node would accept its entry any
// more, and no earlier entry of it comes back; one that runs somewhere, or is wanted, is not.
func TestModulesAreForgotten(t *testing.T) { eachHub(t, testModulesAreForgotten) }

func testModulesAreForgotten(t *testing.T, h *running) {
	tm := newTeam(t, h)
	file := []byte("x")
	tm.put(t, &fleet.Entry{Module: "gone"}, file)
	all, err := tm.Wanted(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	early := all["gone"].Signed
	tm.put(t, &fleet.Entry{Module: "wanted"}, file)
	for _, module := range []string{"gone", "runs"} {
		tm.put(t, &fleet.Entry{Module: module, Absent: true}, file)
	}
	away := h.dial(t, fleet.Node, "away", nil) // a node that has not heard that it is to unload one
	b, err := json.Marshal(fleet.Report{Modules: []fleet.ModuleReport{{Module: "runs", State: fleet.Running, Running: 1}, {Module: "gone", State: fleet.Unwanted}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := away.Publish(fleet.ReportSubject(away.Key()), b); err != nil {
		t.Fatal(err)
	}
	tm.reported(t, 1)
	modules := func() (list []string) {
		for _, w := range h.service.store.wanted {
			list = append(list, w.stored.Module)
		}
		return list
	}
	for _, c := range []struct {
		in   time.Duration
		want string
	}{{0, "[gone runs wanted]"}, {fleet.MaxAhead, "[gone runs wanted]"}, {fleet.MaxAhead + 2*time.Hour, "[runs wanted]"}} {
		h.kill()
		h.start(t)
		if err := h.service.store.forgetModules(t.Context(), time.Now().Add(c.in)); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(modules()); got != c.want {
			t.Errorf("after %v the hub has %s, want %s", c.in, got, c.want)
		}
	}
	h.kill()
	h.start(t)
	if got := fmt.Sprint(modules()); got != "[runs wanted]" {
		t.Errorf("after a restart, the hub has %s", got)
	}
	tm = &team{tm.key, tm.keys, newTeam(t, h).Conn}
	if _, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Put, Entry: &early}); err == nil || !strings.Contains(err.Error(), "module gone: generation ") || !strings.Contains(err.Error(), "sign it anew") {
		t.Errorf("an entry from before it was unloaded: %v", err)
	}
	tm.put(t, &fleet.Entry{Module: "gone"}, file)
}
