package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

// follower is a client's source that runs, with what it has brought.
type follower struct {
	ended   chan error
	cancel  context.CancelFunc
	notices testutil.Log

	mu     sync.Mutex // guards what follows
	seqs   []uint64
	lost   uint64
	some   int // losses of unknown size
	starts int
	gate   sync.Mutex // held by a test that has the client read nothing
}

func follow(t testing.TB, socket string, cfg ClientSourceConfig) *follower {
	t.Helper()
	f := &follower{ended: make(chan error, 1)}
	ready := make(chan struct{})
	cfg.OnReady = func() { close(ready) }
	cfg.OnNotice = func(text string) { fmt.Fprintln(&f.notices, text) }
	if cfg.Patience == 0 {
		cfg.Patience = patient
	}
	c := NewClient(socket)
	src, err := c.Source(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var reg taskwatch.Registry
	if err := reg.Attach(taskwatch.NewSink(taskwatch.WantAll(taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit)), f.take)); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, f.cancel = context.WithCancel(context.Background())
	go func() { f.ended <- src.Run(ctx, &reg) }()
	t.Cleanup(func() {
		f.cancel()
		if err := <-f.ended; err != nil {
			t.Errorf("the client ended with %v", err)
		}
		c.Close()
	})
	select {
	case <-ready:
	case <-time.After(patient):
		t.Fatal("the client is not ready")
	}
	return f
}

func (f *follower) take(it taskwatch.Item) {
	f.gate.Lock()
	defer f.gate.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case it.Start != nil:
		f.starts++
	case it.Event != nil:
		f.seqs = append(f.seqs, it.Event.Seq)
	case it.Loss != nil && it.Loss.Count == 0:
		f.some++
	case it.Loss != nil:
		f.lost += it.Loss.Count
	}
}

// until waits for the event with a number.
func (f *follower) until(t testing.TB, seq uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("event %d comes", seq), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.seqs) > 0 && f.seqs[len(f.seqs)-1] == seq
	})
}

// wantComplete fails unless the events up to a number are there or are lost, none
// twice, in their order.
func (f *follower) wantComplete(t testing.TB, last, lost uint64) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if uint64(len(f.seqs))+f.lost != last || f.lost != lost || f.some != 0 {
		t.Errorf("%d events and %d lost, %d times some; want %d, of them %d lost", len(f.seqs), f.lost, f.some, last, lost)
	}
	for i := 1; i < len(f.seqs); i++ {
		if f.seqs[i] <= f.seqs[i-1] || lost == 0 && f.seqs[i] != f.seqs[i-1]+1 {
			t.Fatalf("event %d comes behind event %d", f.seqs[i], f.seqs[i-1])
		}
	}
}

// A stream that is cut again and again in the middle of a storm has all events,
// once each, in their order.
func TestResumeInAStorm(t *testing.T) {
	a := perform()
	limits := defaultLimits
	limits.ring = 256 << 20 // the client may be slower than the storm
	r := startLimited(t, Config{Open: a.src.open(nil)}, limits)
	p := testutil.NewLine(t, r.socket)
	f := follow(t, p.Path, ClientSourceConfig{})
	p.SetLimit(50_021) // bytes, which end within a line
	p.SetDown(true)
	p.SetDown(false)
	storm := testutil.Size(5_000, 20_000, 200_000)
	for range storm {
		a.event(taskwatch.Exec, 9, 1, nil)
	}
	f.until(t, uint64(storm))
	f.wantComplete(t, uint64(storm), 0)
	if cuts := p.Cuts(); cuts < storm/500 {
		t.Errorf("it was cut %d times only", cuts)
	}
	if text := f.notices.String(); !strings.Contains(text, "has ended the stream") || !strings.Contains(text, "goes on where it was") {
		t.Errorf("said is %q", text)
	}
}

// Of what the ring no longer has, the number is told: behind a long cut, and to a
// client that reads slowly.
func TestResumeBehindTheRing(t *testing.T) {
	for _, what := range []string{"cut", "slow"} {
		t.Run(what, func(t *testing.T) {
			a := perform()
			limits := defaultLimits
			limits.ring = 100_000
			r := startLimited(t, Config{Open: a.src.open(nil)}, limits)
			p := testutil.NewLine(t, r.socket)
			f := follow(t, p.Path, ClientSourceConfig{})
			a.event(taskwatch.Exec, 9, 1, nil)
			f.until(t, 1)
			if what == "cut" {
				p.SetDown(true)
			} else {
				f.gate.Lock()
			}
			storm := 1000
			if what == "slow" {
				storm = 10_000 // what lies in buffers on the way is not lost
			}
			for range storm {
				a.event(taskwatch.Exec, 9, 1, nil)
			}
			a.settle()
			if what == "cut" {
				p.SetDown(false)
			} else {
				f.gate.Unlock()
			}
			last := uint64(1 + storm)
			f.until(t, last)
			f.mu.Lock()
			lost := f.lost
			f.mu.Unlock()
			if lost < 500 || lost > last-100 {
				t.Errorf("%d lost of %d, and there is room for a hundred", lost, last)
			}
			f.wantComplete(t, last, lost)
			// The stream that was cut may lose as much before it sees that nobody reads.
			if counted := r.hub.losses(); counted < lost || what == "slow" && counted != lost {
				t.Errorf("%d lost, counted are %d", lost, counted)
			}
		})
	}
}

// A daemon that was started again has another history: what is lost is unknown,
// and what comes is of other tasks.
func TestResumeBehindARestart(t *testing.T) {
	a := perform()
	r := start(t, Config{Open: a.src.open(nil)})
	f := follow(t, r.socket, ClientSourceConfig{})
	a.event(taskwatch.Exec, 9, 1, nil)
	f.until(t, 1)
	r.stop(t)
	again := perform()
	again.seq = 70
	r = start(t, Config{Open: again.src.open(nil), Socket: r.socket})
	eventually(t, "the client is back", func() bool { return r.hub.count() == 1 })
	eventually(t, "it begins anew", func() bool { return strings.Contains(f.notices.String(), "begins anew") })
	again.event(taskwatch.Exec, 9, 1, nil)
	f.until(t, 71)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.some != 1 || f.lost != 0 || f.starts != 1 || len(f.seqs) != 2 {
		t.Errorf("%d losses of unknown size, %d lost, %d starts, events %v", f.some, f.lost, f.starts, f.seqs)
	}
}

// The client gives up a daemon that does not come back.
func TestResumeGivesUp(t *testing.T) {
	a := perform()
	r := start(t, Config{Open: a.src.open(nil)})
	f := follow(t, r.socket, ClientSourceConfig{Patience: 100 * time.Millisecond})
	r.stop(t)
	select {
	case err := <-f.ended:
		f.ended <- nil
		if err == nil || !strings.Contains(err.Error(), r.socket) || !strings.Contains(err.Error(), "start it") {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patient):
		t.Fatal("it goes on trying")
	}
}

// lines reads n lines of a stream.
func (r *running) lines(t testing.TB, n int, query string) (out []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://daemon/events?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: r.Client.transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return []string{res.Status, string(text)}
	}
	in := bufio.NewReader(res.Body)
	for range n {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%v behind %q", err, out)
		}
		out = append(out, line)
	}
	return out
}

// For any client: the start names the instance, each line its place, and after=
// goes on behind it, with the filter of before. What cannot be is said.
func TestAfter(t *testing.T) {
	a := perform()
	r := start(t, Config{Open: a.src.open(nil)})
	first := r.lines(t, 1, "after=now&events=exec")
	b := &body{line: []byte(first[0])}
	if err := b.begin(); err != nil || b.at.instance == "" {
		t.Fatalf("%v in %s", err, first)
	}
	for i := range 10 {
		a.event(taskwatch.Exec, 9, 1, func(ev *taskwatch.Event) {
			if i%2 == 0 {
				ev.Task.Comm = "even"
			}
		})
	}
	a.src.items <- taskwatch.Item{Loss: &taskwatch.Loss{Count: 5, Seq: 11}}
	for from := range 10 {
		list := r.lines(t, 12-from, fmt.Sprintf("events=exec&after=%s:%d", b.at.instance, from))
		for i, line := range list[1:] {
			want, seq := uint64(from+i+1), from+i+1
			if i == 10-from { // the loss counts for what it stands for
				want = 15
			}
			if pos, ok := record.Position([]byte(line)); !ok || pos != want || !strings.Contains(line, fmt.Sprintf(`"seq":%d,`, seq)) {
				t.Fatalf("after %d line %d is %s", from, i, line)
			}
		}
	}
	chosen := r.lines(t, 4, fmt.Sprintf(`events=exec&where=comm=="even"&after=%s:4`, b.at.instance))
	for i, pos := range []string{`"pos":5}`, `"pos":7}`, `"pos":9}`} {
		if !strings.Contains(chosen[1+i], pos) {
			t.Errorf("of what is chosen, line %d is %s", i, chosen[1+i])
		}
	}
	other := r.lines(t, 2, "events=exec&after=other:4")
	if other[1] != `{"event":"lost","seq":11,"pos":15}`+"\n" || !strings.Contains(other[0], b.at.instance) {
		t.Errorf("of another instance: %q", other)
	}
	for query, says := range map[string]string{
		"after=":    "INSTANCE:SEQ",
		"after=7":   "INSTANCE:SEQ",
		"after=x:y": "INSTANCE:SEQ",
		"after=" + b.at.instance + ":99&events=exec": "fewer items",
	} {
		if got := r.lines(t, 1, query); len(got) != 2 || !strings.HasPrefix(got[0], "400") || !strings.Contains(got[1], says) {
			t.Errorf("%s: %q", query, got)
		}
	}
	stream, err := r.Client.Events(t.Context(), connect.NewRequest(&api.EventsRequest{Events: []string{"exec"}, After: b.at.instance + ":9"}))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for i, want := range []string{":9", ":15"} {
		if !stream.Receive() || stream.Msg().After != b.at.instance+want {
			t.Fatalf("message %d: %v, %v", i, stream.Msg(), stream.Err())
		}
	}
}

// A stream of a process tree that is resumed has the ends of descendants that
// have begun and ended before it was back.
func TestResumeATree(t *testing.T) {
	a := perform()
	r := start(t, Config{Open: a.src.open(nil)})
	const root = 1<<22 + 1 // which no process has
	query := fmt.Sprintf("events=exec,exit&pid=%d&tree=true&after=", root)
	first := r.lines(t, 1, query+"now")
	b := &body{line: []byte(first[0])}
	if err := b.begin(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		child := root + 10 + i
		a.event(taskwatch.Clone, child, root, nil)
		a.event(taskwatch.Exec, child, root, nil)
		a.event(taskwatch.Exec, 7, 1, nil)
		a.event(taskwatch.Exit, child, root, nil)
	}
	list := r.lines(t, 6, query+b.at.String())
	for i, line := range list[1:] {
		want := []string{"exec", "exit"}[i%2]
		if !strings.Contains(line, fmt.Sprintf(`"event":"%s"`, want)) || !strings.Contains(line, fmt.Sprintf(`"pid":%d`, root+10+i/2)) {
			t.Errorf("line %d is %s, want the %s of %d", i, line, want, root+10+i/2)
		}
	}
}

// Nothing is gathered for streams that have not come back in time, and nothing is
// kept; a kind that nobody has asked for meanwhile is a loss of unknown size.
func TestRingIsForReaders(t *testing.T) {
	a := perform()
	limits := defaultLimits
	limits.comeBack = 0
	r := startLimited(t, Config{Open: a.src.open(nil)}, limits)
	wanted := func() taskwatch.Kinds { return r.registry.Feed().Kinds() }
	if wanted() != 0 || r.ring.size() != 0 {
		t.Errorf("before there is a stream, %v are wanted", wanted())
	}
	f := follow(t, r.socket, ClientSourceConfig{})
	a.event(taskwatch.Exec, 9, 1, nil)
	f.until(t, 1)
	first := r.lines(t, 1, "after=now&events=uid")
	eventually(t, "its kind is forgotten", func() bool { return !wanted().Has(taskwatch.UID) })
	b := &body{line: []byte(first[0])}
	if err := b.begin(); err != nil {
		t.Fatal(err)
	}
	a.event(taskwatch.UID, 9, 1, nil)
	if list := r.lines(t, 2, "events=uid&after="+b.at.String()); !strings.HasPrefix(list[1], `{"event":"lost","seq":`) {
		t.Errorf("behind the gap is %q", list)
	}
	a.event(taskwatch.Exec, 9, 1, nil)
	f.until(t, 3)
	f.mu.Lock()
	if f.some != 0 || f.lost != 0 {
		t.Error("the gap of another stream is a loss of this one")
	}
	f.mu.Unlock()
	f.cancel()
	eventually(t, "nothing is wanted and kept", func() bool { return wanted() == 0 && r.ring.size() == 0 })
}

// The ring is bounded, whatever comes.
func TestRingIsBounded(t *testing.T) {
	r := newTestRing(100_000)
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{Argv: []string{strings.Repeat("x", 5000)}}}
	most := 0
	for i := range 10_000 {
		ev.Seq = uint64(i)
		r.Take(taskwatch.Item{Event: ev})
		most = max(most, cap(r.items))
	}
	if r.bytes > r.limit || len(r.items) != 100_000/5800 || most > 256 {
		t.Errorf("%d bytes, %d items, room for %d", r.bytes, len(r.items), most)
	}
	if r.seen.in(categories{ofEvent + category(taskwatch.Exec): true}) != 10_000 {
		t.Errorf("counted are %v", r.seen)
	}
}
