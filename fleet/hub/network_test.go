package hub

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// network is a network namespace at the other end of a link that can be cut.
type network struct {
	name    string // of the namespace, and of this end of the link
	address string // of this end
}

// newNetwork makes a namespace that is there until the test ends.
func newNetwork(t *testing.T) *network {
	t.Helper()
	testutil.Root(t)
	testutil.RequireTool(t, "ip")
	pid := os.Getpid()
	n := &network{name: fmt.Sprintf("tw%d", pid), address: fmt.Sprintf("10.%d.%d.1", 200+pid%50, pid/50%250)}
	ip(t, "netns", "add", n.name)
	t.Cleanup(func() { ip(t, "netns", "del", n.name) }) // and the link with it
	ip(t, "link", "add", n.name, "type", "veth", "peer", "name", "far", "netns", n.name)
	ip(t, "addr", "add", n.address+"/24", "dev", n.name)
	ip(t, "link", "set", n.name, "up")
	ip(t, "-n", n.name, "addr", "add", strings.TrimSuffix(n.address, "1")+"2/24", "dev", "far")
	ip(t, "-n", n.name, "link", "set", "far", "up")
	return n
}

// set cuts the link, or mends it.
func (n *network) set(t *testing.T, cut bool) {
	t.Helper()
	state := "up"
	if cut {
		state = "down"
	}
	ip(t, "-n", n.name, "link", "set", "far", state) // the addresses of this end stay
}

// inside calls f in the namespace: processes that it starts are there.
func (n *network) inside(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread() // a thread that cannot go back is not unlocked, and ends
	var files []*os.File
	for _, path := range []string{"/proc/thread-self/ns/net", "/run/netns/" + n.name} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	enter := func(f *os.File) {
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Fatal(err)
		}
	}
	enter(files[1])
	f()
	enter(files[0])
	runtime.UnlockOSThread()
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// The network is cut for a while, and the hub sees nothing but silence: what has a
// lease goes, the rest stays; the asker of a question is told; and then the node
// catches up, and no item is missing without a word.
func TestNetworkIsCut(t *testing.T) {
	file := counterModule(t)
	link := newNetwork(t)
	h := &running{dir: filepath.Join(t.TempDir(), "hub"), listen: link.address + ":0"}
	h.begin(t)
	key, pub := signer(t)
	tm := newTeam(t, h)
	tm.key = key
	n := &testNode{id: nodeIdentity(t, h, pub), name: "n"}
	q := &watching{}
	var cmd *exec.Cmd
	var events io.WriteCloser
	link.inside(t, func() { cmd, events = startNode(t, n.id.Dir(), &n.log) })
	defer killNode(cmd, events)
	defer func() {
		if t.Failed() {
			t.Logf("the node:\n%s\nthe question: %s", n.log.String(), q.troubles())
		}
	}()
	runs := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			if _, err := events.Write(execLine(uint64(i+1), 1000+i, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tm.reported(t, 1)
	tm.want(t, &fleet.Entry{Module: "stays"}, file)
	tm.want(t, &fleet.Entry{Module: "leased", Lease: 3 * time.Second}, file)
	q = tm.watch(t, `kind == "exec"`, "", time.Second)
	eventually(t, "the node begins", func() bool { return q.got("n") == 1 })
	runs(0, 10)
	eventually(t, "items come", func() bool { return q.got("n") == 11 })

	link.set(t, true)
	began := time.Now()
	next := &fleet.Entry{Module: "stays", Params: map[string]string{"uid": "5"}}
	tm.put(t, next, file)
	done := 10
	eventually(t, "the lease is over, and the node is named", func() bool {
		runs(done, done+10)
		done += 10
		return strings.Contains(n.log.String(), "msg=unloaded module=leased") && strings.Contains(q.troubles(), "n: it has not answered for")
	})
	if testutil.NeedsNightly.Met() { // both sides give the connection up in that time
		time.Sleep(time.Until(began.Add(time.Minute)))
	}
	if strings.Contains(n.log.String(), "msg=replaced") {
		t.Error("what was said behind the cut has come through")
	}

	link.set(t, false)
	eventually(t, "the node catches up", func() bool {
		return tm.report(t, n, "stays").Running == next.Generation && tm.report(t, n, "leased").State == fleet.Lapsed
	})
	// The start of the new answer may be lost with the connection: the gap is told.
	eventually(t, "the asker is told of a gap", func() bool { _, lost := q.told(); return lost > 0 })
	// On a busy machine the node may forget a question of a second once more, and an item
	// that happens then is nobody's.
	shown := func() int {
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.lines["n"])
	}
	before := shown()
	eventually(t, "items come again", func() bool {
		runs(done, done+1)
		done++
		return shown() >= before+10
	})
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
