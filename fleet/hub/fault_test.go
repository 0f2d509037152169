package hub

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// wire is a network between a hub and its clients that can be cut.
type wire struct {
	listener net.Listener

	mu    sync.Mutex // guards the fields below
	whole *sync.Cond // is told when cut changes
	cut   bool
	conns []net.Conn
	ended sync.WaitGroup
}

// newWire leads to an address until the test ends.
func newWire(t testing.TB, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l}
	w.whole = sync.NewCond(&w.mu)
	w.ended.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil { // the hub is away
				_ = in.Close()
				continue
			}
			w.mu.Lock()
			w.conns = append(w.conns, in, out)
			w.mu.Unlock()
			w.ended.Go(func() { w.pass(in, out) })
			w.ended.Go(func() { w.pass(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.set(false)
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.ended.Wait()
	})
	return w
}

// pass passes on what comes, but nothing while the wire is cut. Neither side sees
// that: what was sent is not lost by TCP, and late.
func (w *wire) pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		for w.cut {
			w.whole.Wait()
		}
		w.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *wire) set(cut bool) {
	w.mu.Lock()
	w.cut = cut
	w.mu.Unlock()
	w.whole.Broadcast()
}

// put says what is to run, and does not wait.
func (tm *team) put(t testing.TB, e *fleet.Entry, file []byte) {
	t.Helper()
	e.Digest, e.Expires = fleet.Digest(file), time.Now().Add(time.Hour)
	if err := tm.Upload(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if err := tm.Put(t.Context(), tm.key, e); err != nil {
		t.Fatal(err)
	}
}

// The network is cut for a while: what has a lease goes, the rest stays; the
// asker of a question is told; and then the node catches up, and no item is
// missing without a word.
func TestNetworkIsCut(t *testing.T) {
	file := counterModule(t)
	h := startHub(t)
	tm := newTeam(t, h)
	w := newWire(t, h.listen)
	h.address = "tls://" + w.listener.Addr().String()
	n := newNode(t, h, tm.keys, "n", nil)
	tm.reported(t, 1)
	tm.want(t, &fleet.Entry{Module: "stays"}, file)
	tm.want(t, &fleet.Entry{Module: "leased", Lease: 3 * time.Second}, file)
	q := tm.watch(t, `kind == "exec"`, "", time.Second)
	eventually(t, "the node begins", func() bool { return q.got("n") == 1 })
	runs(t, 0, 10, n)
	eventually(t, "items come", func() bool { return q.got("n") == 11 })

	w.set(true)
	began := time.Now()
	next := &fleet.Entry{Module: "stays", Params: map[string]string{"uid": "5"}}
	tm.put(t, next, file)
	done := 10
	eventually(t, "the lease is over, and the node is named", func() bool {
		runs(t, done, done+10, n)
		done += 10
		return slices.Equal(n.FleetModules(), []string{"stays"}) && strings.Contains(q.troubles(), "n: it has not answered for")
	})
	if testutil.NeedsNightly.Met() { // both sides give the connection up in that time
		time.Sleep(time.Until(began.Add(time.Minute)))
	}
	if strings.Contains(n.log.String(), "msg=replaced") {
		t.Error("what was said behind the cut has come through")
	}

	w.set(false)
	eventually(t, "the node catches up", func() bool {
		return tm.report(t, n, "stays").Running == next.Generation && tm.report(t, n, "leased").State == fleet.Lapsed
	})
	starts := func() (n int) {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, line := range q.lines["n"] {
			if strings.Contains(line, `"event":"start"`) {
				n++
			}
		}
		return n
	}
	eventually(t, "the question is answered again", func() bool { return starts() > 1 })
	before := q.got("n")
	runs(t, done, done+10, n)
	eventually(t, "items come again", func() bool { return q.got("n") == before+10 })
	if q.missing() == 0 && before < done+2 {
		t.Errorf("%d of %d items have come, and none is said to be lost", before-2, done)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	last := 0
	for _, line := range q.lines["n"] {
		var got struct{ Task struct{ PID int } }
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if pid := got.Task.PID; pid != 0 {
			if pid <= last {
				t.Errorf("the exec of %d comes after that of %d", pid, last)
			}
			last = pid
		}
	}
}

// The hub is killed in every step of a rollout, and started again: the rollout
// goes on, and what the hub had accepted is there.
func TestHubIsKilledInRollout(t *testing.T) {
	file := counterModule(t)
	h := startProgram(t)
	tm := newTeam(t, h.running)
	var nodes []*testNode
	for i := range 3 {
		nodes = append(nodes, newNode(t, h.running, tm.keys, fmt.Sprintf("n%d", i), nil))
	}
	tm.reported(t, 3)
	if err := tm.Upload(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	var steps []int
	r := operator.Rollout{Key: tm.key, Step: 1, Timeout: patient, OnStep: func(done, _ int, _ *operator.Outcome) {
		steps = append(steps, done)
		running := 0
		for _, n := range nodes {
			running += len(n.FleetModules())
		}
		if running != done {
			t.Errorf("after the step to %d, %d nodes run the module", done, running)
		}
		h.crash(t)
		h.start(t)
	}}
	e := &fleet.Entry{Module: "count", Digest: fleet.Digest(file), Expires: time.Now().Add(time.Hour)}
	if err := r.Run(t.Context(), tm.Conn, e); err != nil || !slices.Equal(steps, []int{1, 2, 3}) {
		t.Fatalf("the steps are %v, %v", steps, err)
	}
	all, err := tm.Wanted(t.Context())
	if err != nil || all["count"] == nil || all["count"].Generation != e.Generation || all["count"].Through != "" {
		t.Errorf("the hub has %+v, %v", all["count"], err)
	}
	for _, n := range nodes {
		eventually(t, "the node reports to the hub that was started again", func() bool { return tm.report(t, n, "count").Running == e.Generation })
	}
}

// The clock of an operator is wrong. Ahead, it does not keep others from saying
// what is to run; behind, what it says may have expired, which is reported.
func TestClockSkew(t *testing.T) {
	file := counterModule(t)
	_, tm, n := oneNode(t)
	say := func(skew, valid time.Duration, generation uint64, uid string) *fleet.Entry {
		t.Helper()
		e := &fleet.Entry{
			Module: "count", Generation: generation, Digest: fleet.Digest(file), Expires: time.Now().Add(skew + valid), Params: map[string]string{"uid": uid},
		}
		s, err := fleet.SignEntry(tm.key, e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Put, Entry: s}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if err := tm.Upload(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	ahead := say(time.Hour, time.Hour, uint64(time.Now().Add(time.Hour).UnixMilli()), "1")
	eventually(t, "the entry of the one ahead runs", func() bool { return tm.report(t, n, "count").Running == ahead.Generation })
	right := &fleet.Entry{Module: "count", Params: map[string]string{"uid": "2"}}
	if o := tm.want(t, right, file); len(o.Failed()) > 0 || right.Generation <= ahead.Generation {
		t.Errorf("the one with the right time has generation %d after %d: %+v", right.Generation, ahead.Generation, o)
	}
	behind := say(-time.Hour, 10*time.Minute, right.Generation+1, "3")
	eventually(t, "the entry of the one behind is refused", func() bool {
		r := tm.report(t, n, "count")
		return r.State == fleet.Refused && r.Refused == behind.Generation && r.Running == right.Generation && strings.Contains(r.Reason, "has expired, at ")
	})
	if o := tm.want(t, &fleet.Entry{Module: "count", Params: map[string]string{"uid": "4"}}, file); len(o.Failed()) > 0 {
		t.Errorf("afterwards: %+v", o.Failed())
	}
}

// The disk of the hub is full: what cannot be stored is rejected, and nobody is
// told to do it; the rest goes on; and when there is room again, all is well.
func TestFullDisk(t *testing.T) {
	testutil.Root(t)
	file := counterModule(t)
	h := &running{dir: t.TempDir(), listen: "127.0.0.1:0"}
	if err := unix.Mount("taskwatch", h.dir, "tmpfs", 0, "size=128m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(h.dir, 0); err != nil {
			t.Error(err)
		}
	})
	h.begin(t)
	h.listen = strings.TrimPrefix(h.URL(), "tls://")
	tm := newTeam(t, h)
	n := newNode(t, h, tm.keys, "n", nil)
	late := h.token(t, fleet.Node, "late")
	tm.reported(t, 1)
	good := &fleet.Entry{Module: "count"}
	tm.want(t, good, file)

	filler, err := os.Create(filepath.Join(h.dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(filler, zeros{}); err == nil {
		t.Fatal("the disk has no end")
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 1<<20)
	if err := tm.Upload(t.Context(), big); err == nil || !strings.Contains(err.Error(), "the disk of the hub is full") {
		t.Errorf("a file on a full disk: %v", err)
	}
	e := &fleet.Entry{Module: "big", Digest: fleet.Digest(big), Expires: time.Now().Add(time.Hour)}
	if err := tm.Put(t.Context(), tm.key, e); err == nil || !strings.Contains(err.Error(), "upload it first") {
		t.Errorf("an entry without its file: %v", err)
	}
	other := &fleet.Entry{Module: "count", Digest: fleet.Digest(file), Expires: e.Expires, Params: map[string]string{"uid": "1"}}
	if err := tm.Put(t.Context(), tm.key, other); err == nil || !strings.Contains(err.Error(), "the disk of the hub is full") {
		t.Errorf("an entry on a full disk: %v", err)
	}
	if c, err := h.identity(t, late).Dial(fleet.DialOptions{}); err == nil {
		c.Close()
		t.Error("a client is let in that cannot be remembered")
	}
	for _, says := range []string{"the disk is full: nothing is stored", "no space left on device"} {
		if !strings.Contains(h.log.String(), says) {
			t.Errorf("the log of the hub does not say %q", says)
		}
	}
	w := tm.watch(t, `kind == "exec"`, "", time.Minute)
	eventually(t, "a question is answered all the same", func() bool { return w.got("n") == 1 })
	w.end(t)
	if got := n.FleetModules(); !slices.Equal(got, []string{"count"}) || tm.report(t, n, "count").Generation != good.Generation {
		t.Errorf("the modules are %q, and the last entry that was heard of is not %d", got, good.Generation)
	}

	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	if err := tm.Upload(t.Context(), big); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if o := tm.want(t, &fleet.Entry{Module: "count", Params: map[string]string{"uid": "2"}}, file); len(o.Failed()) > 0 {
		t.Errorf("with room again: %+v", o)
	}
	c, err := h.identity(t, late).Dial(fleet.DialOptions{})
	if err != nil {
		t.Fatalf("the client that was not let in: %v", err)
	}
	c.Close()
}

// zeros never end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
