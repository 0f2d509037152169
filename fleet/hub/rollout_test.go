package hub

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/fleet/registry"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// newNodes starts nodes, which have reported, in the order in which rollouts take them.
func newNodes(t testing.TB, h *running, tm *team, n int) (nodes []*testNode) {
	t.Helper()
	for i := range n {
		nodes = append(nodes, newNode(t, h, tm.keys, fmt.Sprintf("n%d", i), nil))
	}
	tm.reported(t, n)
	slices.SortFunc(nodes, func(a, b *testNode) int { return strings.Compare(fleet.Place(a.id.Key()), fleet.Place(b.id.Key())) })
	return nodes
}

// A rollout goes step by step, stops at a failure, and goes back. Nodes that it has
// not reached keep what they have.
func TestRollout(t *testing.T) {
	file := counterModule(t)
	h := startHub(t)
	tm := newTeam(t, h)
	nodes := newNodes(t, h, tm, 4)
	var steps []int
	r := operator.Rollout{Key: tm.key, Step: 2, Rollback: true, Timeout: patient, OnStep: func(done, all int, o *operator.Outcome) {
		steps = append(steps, done)
		running := 0
		for _, n := range nodes {
			running += len(n.FleetModules())
		}
		if running != done {
			t.Errorf("after the step to %d of %d, %d nodes run the module", done, all, running)
		}
	}}
	entry := func(uid string) *fleet.Entry {
		return &fleet.Entry{Module: "count", Digest: fleet.Digest(file), Expires: time.Now().Add(time.Hour), Params: map[string]string{"uid": uid}}
	}
	if err := tm.Upload(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), tm.Conn, entry("1")); err != nil || !slices.Equal(steps, []int{2, 4}) {
		t.Fatalf("the steps are %v, %v", steps, err)
	}
	bad := entry("2")
	bad.Params["speed"] = "9"
	steps, r.Step = nil, 1
	r.OnStep = func(done, _ int, _ *operator.Outcome) { steps = append(steps, done) }
	err := r.Run(t.Context(), tm.Conn, bad)
	if err == nil || !strings.Contains(err.Error(), "what ran before runs again") || !slices.Equal(steps, []int{1}) {
		t.Fatalf("the steps of a bad one are %v, %v", steps, err)
	}
	for i, n := range nodes {
		if r := tm.report(t, n, "count"); r.State != fleet.Running || strings.Contains(n.log.String(), "msg=replaced") {
			t.Errorf("after the rollback, node %d has %+v", i, r)
		}
	}
}

// The second step fails: the nodes of the first one go back to what they ran, and those
// behind it have never changed.
func TestRollbackOfSecondStep(t *testing.T) {
	file := counterModule(t)
	var fetched atomic.Int32
	host := serveRegistry(t, func(path string, b []byte) []byte {
		if strings.Contains(path, "/blobs/") && fetched.Add(1) > 1 { // for the first node alone
			return make([]byte, len(b))
		}
		return b
	})
	m := &registry.Module{FileName: "count.wasm", File: append(slices.Clone(file), 0, 2, 1, 'x')} // a section that means nothing
	if _, err := plain.Push(t.Context(), host+"/count:1", m); err != nil {
		t.Fatal(err)
	}
	place, err := plain.Place(host + "/count:1")
	if err != nil {
		t.Fatal(err)
	}
	h := startHub(t)
	tm := newTeam(t, h)
	nodes := newNodes(t, h, tm, 3)
	if o := tm.want(t, &fleet.Entry{Module: "count"}, file); len(o.Failed()) > 0 {
		t.Fatalf("%+v", o)
	}
	var steps []int
	r := operator.Rollout{Key: tm.key, Step: 1, Rollback: true, Timeout: patient, OnStep: func(done, _ int, _ *operator.Outcome) { steps = append(steps, done) }}
	next := &fleet.Entry{Module: "count", Digest: fleet.Digest(m.File), Registry: place, Expires: time.Now().Add(time.Hour)}
	err = r.Run(t.Context(), tm.Conn, next)
	for _, says := range []string{"it failed on 1 of 2 nodes so far, first on node " + nodes[1].name + ": ", "; what ran before runs again"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("the rollout ends with %v, want %q", err, says)
		}
	}
	if !slices.Equal(steps, []int{1, 2}) {
		t.Errorf("the steps are %v", steps)
	}
	all, err := tm.Wanted(t.Context())
	if err != nil || all["count"] == nil || all["count"].Digest != fleet.Digest(file) || all["count"].Through != "" {
		t.Fatalf("the hub has %+v, %v", all["count"], err)
	}
	for i, replaced := range []int{2, 0, 0} {
		if got := strings.Count(nodes[i].log.String(), "msg=replaced"); got != replaced {
			t.Errorf("node %d has replaced the module %d times, want %d", i, got, replaced)
		}
		if running := tm.report(t, nodes[i], "count").Running; running != all["count"].Generation {
			t.Errorf("node %d runs generation %d, want %d", i, running, all["count"].Generation)
		}
	}
}

// A node that has loaded the module, and is never heard of again, ends the rollout:
// before the next step where the nodes have time to settle, and else in that step. A
// node that was silent before does not.
func TestRolloutStopsAtSilentNode(t *testing.T) {
	testutil.Nightly(t) // a node is silent after half a minute
	for _, c := range []struct {
		settle       time.Duration
		steps, loads int // at most
	}{{0, 1, 3}, {time.Second, 0, 1}} {
		t.Run(c.settle.String(), func(t *testing.T) {
			t.Parallel()
			file := counterModule(t)
			h := startHub(t)
			tm := newTeam(t, h)
			nodes := newNodes(t, h, tm, 4)
			old, ill := nodes[0], nodes[1]
			old.stop()
			eventually(t, "a node is silent", func() bool {
				list, _, err := tm.Nodes(t.Context(), 0)
				return err == nil && slices.ContainsFunc(list, func(n fleet.NodeState) bool { return n.Key == old.id.Key() && n.Silent() })
			})
			if err := tm.Upload(t.Context(), file); err != nil {
				t.Fatal(err)
			}
			hangs := make(chan struct{})
			go func() {
				defer close(hangs)
				for end := time.Now().Add(patient); len(ill.FleetModules()) == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
				}
				ill.stop()
			}()
			var steps []int
			r := operator.Rollout{Key: tm.key, Step: 2, Settle: c.settle, Timeout: 2 * patient, OnStep: func(done, _ int, _ *operator.Outcome) { steps = append(steps, done) }}
			e := &fleet.Entry{Module: "count", Digest: fleet.Digest(file), Expires: time.Now().Add(time.Hour)}
			err := r.Run(t.Context(), tm.Conn, e)
			<-hangs
			if err == nil || !strings.Contains(err.Error(), "node "+ill.name+" has become silent: it has not reported for ") {
				t.Errorf("the rollout ends with %v", err)
			}
			loads := 0
			for _, n := range nodes {
				loads += strings.Count(n.log.String(), "msg=loaded module=count")
			}
			if len(steps) > c.steps || loads > c.loads {
				t.Errorf("the steps are %v, and %d nodes have loaded the module", steps, loads)
			}
		})
	}
}
