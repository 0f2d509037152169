package daemon

import (
	"context"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// A stream that comes back for tasks of which the ring held no events for a while
// has lost some; another one has not.
func TestRingOfSomeTasks(t *testing.T) {
	var reg taskwatch.Registry
	r := &ring{reg: &reg, copies: new(copies), limit: 1 << 20}
	defer r.end()
	ask := func(where string) *stream {
		s, err := newStream(&choice{after: afterNow, events: []string{"exec"}, where: where})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	join := func(s *stream) (leave func()) {
		leave, err := r.join(s)
		if err != nil {
			t.Fatal(err)
		}
		return leave
	}
	lost := func(s *stream, place uint64) bool {
		c, err := r.open(s.categories(), s.Only(), after{r.instance, place})
		if err != nil {
			t.Fatal(err)
		}
		return c.lost
	}
	happen := func() {
		_ = reg.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{UID: taskwatch.IDs{8}}})
	}
	some, all, both := ask("uid == 8 && comm != 'x'"), ask(""), ask("uid in [8, 9]")
	defer join(some)()
	eight := taskwatch.Only{UIDs: []uint32{8}}
	if got := reg.Feed().Only(); !got.Equal(eight) {
		t.Errorf("the ring wants %+v", got)
	}
	happen() // 1
	leave := join(all)
	if got := reg.Feed().Only(); !got.All() {
		t.Errorf("with a stream of everything, the ring wants %+v", got)
	}
	happen() // 2
	if lost(all, 2) || lost(some, 1) || lost(both, 2) {
		t.Error("a stream has lost what the ring has")
	}
	if !lost(all, 0) {
		t.Error("a stream has all from a time of which the ring has not all")
	}
	leave()
	eventually(t, "the stream of everything is forgotten", func() bool { return reg.Feed().Only().Equal(eight) })
	if !lost(all, 2) || !lost(both, 2) || lost(some, 1) || lost(some, 2) {
		t.Error("after that the ring has all of one user, and only of that one")
	}
}

// What all consumers of the daemon agree on is what the source is asked for.
func TestTasksThatNobodyWants(t *testing.T) {
	a := perform()
	file := filepath.Join(t.TempDir(), "log.jsonl")
	r := start(t, Config{Open: a.src.open(nil), Logs: []LogConfig{{File: file, Where: "uid == 7"}}})
	wanted := func(what string, want taskwatch.Only) {
		t.Helper()
		eventually(t, what, func() bool { return r.registry.Feed().Only().Equal(want) })
	}
	wanted("a log", taskwatch.Only{UIDs: []uint32{7}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	follow := func(query url.Values) {
		t.Helper()
		lines, err := NewClient(r.socket).Lines(ctx, query)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = lines.Close() })
	}
	follow(url.Values{"uid": {"8"}, "comm": {"a"}})
	wanted("and a stream", taskwatch.Only{UIDs: []uint32{7, 8}})
	follow(url.Values{"where": {`comm == "a" && uid == 9`}, "after": {"now"}})
	wanted("and one that may be resumed", taskwatch.Only{UIDs: []uint32{7, 8, 9}})
	follow(url.Values{"where": {`comm == "a"`}})
	wanted("and one that does not agree", taskwatch.Only{})
}
