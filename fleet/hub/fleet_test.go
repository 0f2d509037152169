package hub

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aead.dev/minisign"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/node"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/build"
	"github.com/taskwatch/taskwatch/module/sign"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/replay"
)

var needsWasmClang = testutil.Need{
	What: "clang and wasm-ld", Remedy: "install the packages clang and lld", Promised: true,
	Met: func() bool { return build.WasmAvailable() == nil },
}

var counter struct {
	sync.Once
	file []byte
	err  error
}

// counterModule returns a module for the sandbox, which counts execs.
func counterModule(t testing.TB) []byte {
	t.Helper()
	testutil.Require(t, needsWasmClang)
	counter.Do(func() {
		out := filepath.Join(t.TempDir(), "count.wasm")
		if _, counter.err = build.Build(context.Background(), "../../daemon/testdata/count.c", out); counter.err == nil {
			counter.file, counter.err = os.ReadFile(out)
		}
	})
	if counter.err != nil {
		t.Fatal(counter.err)
	}
	return counter.file
}

// testNode is a daemon that replays what its test writes, and is a node.
type testNode struct {
	*daemon.Daemon
	id     *fleet.Identity
	name   string
	labels map[string]string
	keys   *sign.Keys
	log    testutil.Log

	events *io.PipeWriter // a recording
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// newNode enrolls a node, and starts it.
func newNode(t testing.TB, h *running, keys *sign.Keys, name string, labels map[string]string) *testNode {
	t.Helper()
	return newNodeAs(t, h.identity(t, h.token(t, fleet.Node, name)), keys, name, labels)
}

// newNodeAs starts the node of an identity.
func newNodeAs(t testing.TB, id *fleet.Identity, keys *sign.Keys, name string, labels map[string]string) *testNode {
	t.Helper()
	n := &testNode{id: id, name: name, labels: labels, keys: keys}
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", name, n.log.String())
		}
	})
	n.start(t)
	return n
}

// start runs the daemon and the node, with what the node's directory has.
func (n *testNode) start(t testing.TB) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(&n.log, nil))
	var reader *io.PipeReader
	reader, n.events = io.Pipe()
	ready := make(chan struct{})
	var err error
	n.Daemon, err = daemon.New(daemon.Config{
		Socket: filepath.Join(t.TempDir(), "s"), Log: log, Version: "test", OnReady: func() { close(ready) },
		Open: func(ready func(), _ func(*source.Shortage)) (source.Source, error, error) {
			src, err := replay.New(replay.Config{Reader: reader, Name: n.name})
			ready()
			return src, nil, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	events := n.events
	n.ended.Go(func() {
		<-ctx.Done()
		_ = events.Close() // the source reads until then
	})
	n.ended.Go(func() {
		if err := n.Daemon.Run(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("the daemon of %s: %v", n.name, err)
		}
		_ = reader.Close() // whoever writes events does not wait for a daemon that has ended
	})
	<-ready
	joined, err := node.New(node.Config{Identity: n.id, Keys: n.keys, Labels: n.labels, Name: n.name, Daemon: n.Daemon, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	n.ended.Go(func() {
		if err := joined.Run(ctx); err != nil {
			t.Errorf("the node %s: %v", n.name, err)
		}
	})
}

// stop ends the daemon and the node.
func (n *testNode) stop() {
	if n.cancel != nil {
		n.cancel()
		n.ended.Wait()
		n.cancel = nil
	}
}

// team is who may say what runs.
type team struct {
	key  minisign.PrivateKey
	keys *sign.Keys
	*operator.Conn
}

func newTeam(t testing.TB, h *running) *team {
	t.Helper()
	key, file := signer(t)
	keys, err := sign.ReadKeys(file)
	if err != nil {
		t.Fatal(err)
	}
	return &team{key, keys, &operator.Conn{Conn: h.dial(t, fleet.Loader, "team", nil)}}
}

// reported waits until as many nodes have reported.
func (tm *team) reported(t testing.TB, nodes int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d nodes report", nodes), func() bool {
		list, _, err := tm.Nodes(t.Context(), 0)
		return err == nil && len(list) == nodes
	})
}

// oneNode runs a hub with one node, whose name is n.
func oneNode(t testing.TB) (*running, *team, *testNode) {
	t.Helper()
	h := startHub(t)
	tm := newTeam(t, h)
	n := newNode(t, h, tm.keys, "n", nil)
	tm.reported(t, 1)
	return h, tm, n
}

// want says what is to run, and returns what became of it.
func (tm *team) want(t testing.TB, e *fleet.Entry, file []byte) *operator.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if file != nil {
		e.Digest = fleet.Digest(file)
		if err := tm.Upload(ctx, file); err != nil {
			t.Fatal(err)
		}
	}
	if e.Expires.IsZero() {
		e.Expires = time.Now().Add(time.Hour)
	}
	if err := tm.Put(ctx, tm.key, e); err != nil {
		t.Fatal(err)
	}
	o, err := tm.Await(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// report returns what a node says of a module.
func (tm *team) report(t testing.TB, n *testNode, module string) fleet.ModuleReport {
	t.Helper()
	list, _, err := tm.Nodes(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		for _, m := range s.Report.Modules {
			if s.Key == n.id.Key() && m.Module == module {
				return m
			}
		}
	}
	return fleet.ModuleReport{}
}

// An entry reaches the nodes that it chooses, and only those: also one that was
// away; and leaves them again.
func TestModuleReachesNodes(t *testing.T) { eachHub(t, testModuleReachesNodes) }

func testModuleReachesNodes(t *testing.T, h *running) {
	file := counterModule(t)
	tm := newTeam(t, h)
	ci := newNode(t, h, tm.keys, "ci", map[string]string{"role": "ci"})
	db := newNode(t, h, tm.keys, "db", map[string]string{"role": "db"})
	away := newNode(t, h, tm.keys, "away", map[string]string{"role": "ci"})
	tm.reported(t, 3)
	away.stop()
	runs := func(n *testNode, want bool) {
		t.Helper()
		if got := slices.Contains(n.FleetModules(), "count"); got != want {
			t.Errorf("the module runs on %s: %v, want %v", n.name, got, want)
		}
	}
	e := &fleet.Entry{Module: "count", Select: `role == "ci"`, Params: map[string]string{"uid": "7"}}
	if err := tm.Upload(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	e.Digest, e.Expires = fleet.Digest(file), time.Now().Add(time.Hour)
	if err := tm.Put(t.Context(), tm.key, e); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the module runs where it is to", func() bool { return tm.report(t, ci, "count").Running == e.Generation })
	eventually(t, "the other node has heard of it", func() bool { return tm.report(t, db, "count").Generation == e.Generation })
	runs(ci, true)
	runs(db, false)
	away.start(t)
	eventually(t, "the node that was away catches up", func() bool { return tm.report(t, away, "count").Running == e.Generation })
	runs(away, true)

	// Another choice unloads it where it is no longer chosen.
	o := tm.want(t, &fleet.Entry{Module: "count", Select: `role == "db"`}, file)
	if len(o.Done) != 1 || o.Done[0].Node.Key != db.id.Key() || o.Done[0].State != fleet.Running {
		t.Errorf("the outcome is %+v", o)
	}
	eventually(t, "the module leaves the others", func() bool { return len(ci.FleetModules())+len(away.FleetModules()) == 0 })
	o = tm.want(t, &fleet.Entry{Module: "count", Absent: true}, nil)
	if len(o.Done) != 3 || len(o.Failed()) > 0 {
		t.Errorf("the outcome of the end is %+v", o)
	}
	runs(db, false)
	text := audit(t, tm.Conn.Conn)
	for _, says := range []string{"team (loader): wants module count, generation ", "ci (node): module count, generation ", "team (loader): wants module count unloaded"} {
		if !strings.Contains(text, says) {
			t.Errorf("the audit trail does not say %q:\n%s", says, text)
		}
	}
}

// What cannot be run leaves the version before it as it is, and says why: a file
// that the hub has altered, one that is no module, a parameter that does not exist.
func TestFailureKeepsEarlierVersion(t *testing.T) {
	h, tm, n := oneNode(t)
	file := counterModule(t)
	good := &fleet.Entry{Module: "count"}
	tm.want(t, good, file)
	for _, c := range []struct {
		name, says string
		file       []byte
		stored     []byte // in its place
		params     map[string]string
	}{
		{name: "altered", says: fleet.ErrDigest.Error(), file: []byte("what was signed"), stored: file},
		{name: "no module", says: "", file: []byte("what is not a module")},
		{name: "wrong parameter", says: "speed", file: file, params: map[string]string{"speed": "9"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.stored != nil {
				if err := h.service.store.save(t.Context(), fleet.Digest(c.file), c.stored); err != nil {
					t.Fatal(err)
				}
			}
			e := &fleet.Entry{Module: "count", Params: c.params}
			o := tm.want(t, e, c.file)
			if len(o.Failed()) != 1 || !strings.Contains(o.Failed()[0].Reason, c.says) || o.Failed()[0].Reason == "" {
				t.Fatalf("the outcome is %+v, want a failure that says %q", o, c.says)
			}
			if r := o.Failed()[0].Running; r != good.Generation || !slices.Equal(n.FleetModules(), []string{"count"}) {
				t.Errorf("generation %d runs, want %d; the modules are %q", r, good.Generation, n.FleetModules())
			}
			// The node was started again since: the earlier version runs all the same.
			n.stop()
			n.start(t)
			eventually(t, "the earlier version runs after a restart", func() bool {
				r := tm.report(t, n, "count")
				return r.State == fleet.Failed && r.Running == good.Generation && slices.Equal(n.FleetModules(), []string{"count"})
			})
		})
	}
}

// While the hub is away, modules run on, a node that is started again runs what it
// had, and what is wanted then arrives when the hub is back.
func TestHubIsAway(t *testing.T) {
	h, tm, n := oneNode(t)
	file := counterModule(t)
	e := &fleet.Entry{Module: "count"}
	tm.want(t, e, file)
	h.kill()
	if got := n.FleetModules(); !slices.Equal(got, []string{"count"}) {
		t.Errorf("without a hub, the modules are %q", got)
	}
	n.stop()
	n.start(t)
	eventually(t, "a node without a hub runs what it had", func() bool { return slices.Equal(n.FleetModules(), []string{"count"}) })
	h.start(t)
	tm.Conn = &operator.Conn{Conn: h.dial(t, fleet.Loader, "again", nil)}
	all, err := tm.Wanted(t.Context())
	if err != nil || all["count"] == nil || all["count"].Generation != e.Generation {
		t.Errorf("the hub has %v, %v", all, err)
	}
	next := &fleet.Entry{Module: "count", Params: map[string]string{"uid": "3"}}
	// The node may be silent for the hub until it has connected again.
	if err := tm.Upload(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	next.Digest, next.Expires = fleet.Digest(file), time.Now().Add(time.Hour)
	if err := tm.Put(t.Context(), tm.key, next); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node follows the hub that is back", func() bool { return tm.report(t, n, "count").Running == next.Generation })
}
