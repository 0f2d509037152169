package hub

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

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

// The hub is away for longer than a request waits for its answer: who waits for the nodes
// goes on waiting.
func TestHubIsAwayForLong(t *testing.T) {
	testutil.Nightly(t) // half a minute
	file := counterModule(t)
	h := startProgram(t)
	tm := newTeam(t, h.running)
	n := newNode(t, h.running, tm.keys, "n", nil)
	tm.reported(t, 1)
	n.stop()
	e := &fleet.Entry{Module: "count"}
	tm.put(t, e, file)
	done := make(chan struct{})
	var o *operator.Outcome
	var err error
	go func() {
		defer close(done)
		o, err = tm.Await(t.Context(), e)
	}()
	h.crash(t)
	select {
	case <-done:
		t.Fatalf("without a hub, the outcome is %+v, %v", o, err)
	case <-time.After(25 * time.Second):
	}
	h.start(t)
	n.start(t)
	<-done
	if err != nil || len(o.Done) != 1 || o.Done[0].State != fleet.Running {
		t.Errorf("the outcome is %+v, %v", o, err)
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
		return r.State == fleet.Rejected && r.Rejected == behind.Generation && r.Running == right.Generation && strings.Contains(r.Reason, "has expired, at ")
	})
	if o := tm.want(t, &fleet.Entry{Module: "count", Params: map[string]string{"uid": "4"}}, file); len(o.Failed()) > 0 {
		t.Errorf("afterwards: %+v", o.Failed())
	}
}

// The clock of the hub is set back while it is away: operators, whose last revision is
// of the time to come, hear of all nodes.
func TestClockOfHubIsSetBack(t *testing.T) {
	s := &store{byNode: map[string]*nodeEntry{"n": {revision: 7}}, last: 7}
	for behind, want := range map[uint64]int{6: 1, 7: 0, 1000: 1} {
		if r := s.nodes(behind); len(r.Nodes) != want || r.Revision != 7 || r.More {
			t.Errorf("behind %d: %d nodes and revision %d, want %d and 7", behind, len(r.Nodes), r.Revision, want)
		}
	}
}

// The disk of the hub is full: what cannot be stored is rejected, and nobody is
// told to do it; the rest goes on; and when there is room again, all is well.
func TestFullDisk(t *testing.T) {
	h := &running{dir: smallDisk(t, "128m"), listen: "127.0.0.1:0"}
	file := counterModule(t)
	h.begin(t)
	h.listen = strings.TrimPrefix(h.URL(), "tls://")
	tm := newTeam(t, h)
	n := newNode(t, h, tm.keys, "n", nil)
	late := h.token(t, fleet.Node, "late")
	tm.reported(t, 1)
	good := &fleet.Entry{Module: "count"}
	tm.want(t, good, file)

	filler := fill(t, h.dir)
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
	h.kill()
	h.start(t) // on the full disk
	eventually(t, "the node connects again", func() bool { return strings.Count(n.log.String(), "connected to the hub") == 2 })
	eventually(t, "the operator does so, too", func() bool { _, _, err := tm.Nodes(t.Context(), 0); return err == nil })
	w := tm.watch(t, `kind == "exec"`, "", time.Minute)
	eventually(t, "a question is answered all the same", func() bool { return w.got("n") == 1 })
	w.end(t)
	if got := n.FleetModules(); !slices.Equal(got, []string{"count"}) || tm.report(t, n, "count").Generation != good.Generation {
		t.Errorf("the modules are %q, and the last entry that was heard of is not %d", got, good.Generation)
	}

	if err := os.Remove(filler); err != nil {
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

// The disk of a node is full: what cannot be kept is refused, with the reason, and
// not done; and is done when there is room again.
func TestFullDiskOfNode(t *testing.T) {
	dir := smallDisk(t, "1m")
	h := startHub(t)
	tm := newTeam(t, h)
	file := counterModule(t)
	id, err := fleet.OpenIdentity(dir, h.URL(), h.token(t, fleet.Node, "n"))
	if err != nil {
		t.Fatal(err)
	}
	n := newNodeAs(t, id, tm.keys, "n", nil)
	tm.reported(t, 1)
	good := &fleet.Entry{Module: "count"}
	if o := tm.want(t, good, file); len(o.Failed()) > 0 {
		t.Fatalf("%+v", o)
	}
	filler := fill(t, dir)
	next := &fleet.Entry{Module: "count", Params: map[string]string{"uid": "1"}}
	o := tm.want(t, next, file)
	if f := o.Failed(); len(f) != 1 || f[0].State != fleet.Rejected || f[0].Generation != good.Generation || f[0].Running != good.Generation ||
		!strings.Contains(f[0].Reason, "cannot be kept here") || !strings.Contains(f[0].Reason, "no space left") {
		t.Errorf("on a full disk, the outcome is %+v", o)
	}
	if strings.Contains(n.log.String(), "msg=replaced") {
		t.Error("what cannot be kept was done")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	h.kill()
	h.start(t) // the node reads everything
	tm.Conn = &operator.Conn{Conn: h.dial(t, fleet.Loader, "again", nil)}
	eventually(t, "it is done when there is room", func() bool { return tm.report(t, n, "count").Running == next.Generation })
}

// smallDisk mounts a disk of a size until the test ends.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	testutil.Root(t)
	dir = t.TempDir()
	if err := unix.Mount("taskwatch", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no room on a disk, and returns the file that takes it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(filler, zeros{}); err == nil {
		t.Fatal("the disk has no end")
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	return filler.Name()
}

// zeros never end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
