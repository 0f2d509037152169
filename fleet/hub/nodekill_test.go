package hub

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/node"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/sign"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/replay"
)

// nodeDir makes the test program a node; it names the directory of its identity,
// which has a key, team.pub, as well.
const nodeDir = "TASKWATCH_TEST_NODE_DIR"

// nodeProcess is a node until it is killed.
func nodeProcess(dir string) int {
	if err := runNodeProcess(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runNodeProcess(dir string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	keys, err := sign.ReadKeys(filepath.Join(dir, "team.pub"))
	if err != nil {
		return err
	}
	id, err := fleet.OpenIdentity(dir, "", "")
	if err != nil {
		return err
	}
	ready := make(chan struct{})
	d, err := daemon.New(daemon.Config{
		Socket: filepath.Join(dir, "s"), Log: log, Version: "test", OnReady: func() { close(ready) },
		Open: func(ready func(), _ func(*source.Shortage)) (source.Source, error, error) {
			src, err := replay.New(replay.Config{Reader: os.Stdin, Name: "n"})
			ready()
			return src, nil, err
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-ready
		n, err := node.New(node.Config{Identity: id, Keys: keys, Name: "n", Daemon: d, Log: log})
		if err == nil {
			err = n.Run(ctx)
		}
		log.Error("the node has ended", "error", err)
	}()
	return d.Run(ctx)
}

// nodeIdentity enrolls the node "n" that is to be a process; pub is the key that it
// trusts.
func nodeIdentity(t testing.TB, h *running, pub string) *fleet.Identity {
	t.Helper()
	id := h.identity(t, h.token(t, fleet.Node, "n"))
	text, err := os.ReadFile(pub)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(id.Dir(), "team.pub"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return id
}

// startNode runs the node of a directory as a process. It replays what is written
// to events.
func startNode(t testing.TB, dir string, log io.Writer) (cmd *exec.Cmd, events io.WriteCloser) {
	t.Helper()
	cmd = testutil.Self(t)
	cmd.Env, cmd.Stderr = append(os.Environ(), nodeDir+"="+dir), log
	events, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return cmd, events
}

func killNode(cmd *exec.Cmd, events io.Closer) {
	_ = cmd.Process.Kill() // it may have ended
	_ = cmd.Wait()
	_ = events.Close()
}

// A node is killed at any moment, while it loads among others: it never goes back
// to an earlier entry, and always comes to the last one.
func TestNodeIsKilledWhileItLoads(t *testing.T) {
	file := counterModule(t)
	h := startHub(t)
	key, pub := signer(t)
	tm := newTeam(t, h)
	tm.key = key
	id := nodeIdentity(t, h, pub)
	var log testutil.Log
	state := func() (m fleet.ModuleReport) {
		t.Helper()
		list, _, err := tm.Nodes(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 && len(list[0].Report.Modules) == 1 {
			m = list[0].Report.Modules[0]
		}
		return m
	}
	cmd, events := startNode(t, id.Dir(), &log)
	defer func() { killNode(cmd, events) }()
	seen := uint64(0)
	var last *fleet.Entry
	for i := range testutil.Size(6, 12, 60) {
		eventually(t, "the node connects", func() bool { return strings.Count(log.String(), "connected to the hub") == i+1 })
		last = &fleet.Entry{Module: "count", Params: map[string]string{"uid": fmt.Sprint(i)}}
		tm.put(t, last, file)
		moment := time.Now().Add(rand.N(50 * time.Millisecond)) // any will do
		eventually(t, "the moment comes", func() bool { return time.Now().After(moment) })
		killNode(cmd, events)
		m := state()
		if m.Generation < seen || m.State == fleet.Rejected || m.State == fleet.Failed {
			t.Errorf("round %d: it has seen generation %d before, and says %+v", i, seen, m)
		}
		seen = m.Generation
		cmd, events = startNode(t, id.Dir(), &log)
	}
	eventually(t, "the last entry runs", func() bool { return state().Running == last.Generation })
	if t.Failed() {
		t.Logf("the log of the node:\n%s", log.String())
	}
}
