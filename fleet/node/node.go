package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/module/sign"
)

// Config configures a node. Identity, Keys and Daemon are required.
type Config struct {
	Identity *fleet.Identity
	Keys     *sign.Keys // that entries must be signed by
	Labels   map[string]string
	Name     string // "" stands for that of the host
	Daemon   *daemon.Daemon
	Log      *slog.Logger // nil discards
}

// Node is a node of a fleet. It is made by [New] and runs once.
type Node struct {
	cfg   Config
	log   *slog.Logger
	facts fleet.Facts
	conn  *fleet.Conn

	changed chan struct{}      // the hub has something to say, or is there again
	entries chan *fleet.Stored // of the hub

	modules *modules
	answers answers

	read    chan []fleet.Stored // all that the hub has; nil where that could not be read
	reading bool                // it is under way; the goroutine of Run alone uses these
	unread  bool                // there was something new meanwhile
	reads   sync.WaitGroup

	telling sync.Mutex // guards the field below, and the order of what is sent
	told    []byte     // the last report

	trouble  sync.Mutex // guards the field below
	lastSaid string     // of the connection
}

// New connects to the hub, or begins to try, and reads what the node has kept. The
// caller must call Run.
func New(cfg Config) (*Node, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Keys == nil {
		return nil, errors.New("fleet: no key is trusted to say what runs here; give one with --hub-key FILE")
	}
	n := &Node{cfg: cfg, log: cfg.Log, changed: make(chan struct{}, 1), read: make(chan []fleet.Stored), entries: make(chan *fleet.Stored, 256)}
	n.facts = factsOf(&cfg)
	facts, err := json.Marshal(n.facts)
	if err != nil {
		return nil, err
	}
	if len(facts) > maxFacts {
		return nil, fmt.Errorf("fleet: the name and the labels of the node have %d bytes, and may have %d", len(facts), maxFacts)
	}
	if n.modules, err = newModules(n); err != nil {
		return nil, err
	}
	n.conn, err = cfg.Identity.Dial(fleet.DialOptions{Name: n.facts.Name, Persist: true, OnChange: n.connection})
	if err != nil {
		return nil, err
	}
	n.answers = answers{node: n, asked: map[asked]*answer{}}
	return n, nil
}

// maxFacts is how many bytes the facts of a node may have: the rest of a report is for
// its modules.
const maxFacts = 16 << 10

func factsOf(cfg *Config) fleet.Facts {
	d := cfg.Daemon.Facts()
	f := fleet.Facts{
		Name: cfg.Name, Arch: runtime.GOARCH, Version: d.Version, Source: d.Source, KernelModules: d.KernelModules, Labels: cfg.Labels,
	}
	if f.Name == "" {
		f.Name, _ = os.Hostname()
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return f
}

// connection is called when the connection comes and goes, and with its errors.
func (n *Node) connection(err error) {
	said := "connected to the hub"
	if err != nil {
		said = err.Error()
	}
	n.trouble.Lock()
	same := said == n.lastSaid
	n.lastSaid = said
	n.trouble.Unlock()
	switch {
	case err == nil:
		n.log.Info(said, "hub", n.cfg.Identity.URL, "key", n.cfg.Identity.Key())
		n.wake()
	case !same: // not once a second
		n.log.Warn("the hub", "hub", n.cfg.Identity.URL, "error", err)
	}
}

// wake has the node ask the hub for everything.
func (n *Node) wake() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// readEvery is how often a node reads everything, because a message may be lost.
const readEvery = time.Minute

// Run keeps the daemon as the hub wants it, until ctx ends. The modules stay.
func (n *Node) Run(ctx context.Context) error {
	for {
		err := n.run(ctx)
		if !errors.Is(err, errClosed) {
			return err
		}
		n.log.Error("the server has closed the connection to the hub for good; another one is made", "error", err)
		select {
		case <-time.After(time.Second + rand.N(newConnAfter)): // not all nodes at the same time
		case <-ctx.Done():
			return nil
		}
		if n, err = New(n.cfg); err != nil {
			return err
		}
	}
}

// newConnAfter is how long a node waits, and a second more, at most, after the server has
// closed its connection for good.
const newConnAfter = 4 * time.Second

// errClosed says that the connection does not come back by itself: the server has said
// that the node has done something that it may not.
var errClosed = errors.New("fleet: the connection is closed")

// run does it until the connection is closed.
func (n *Node) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer n.modules.fetches.ended.Wait()
	defer n.reads.Wait()
	defer n.conn.Close()
	defer n.answers.end()
	closed := n.conn.StatusChanged(nats.CLOSED)
	defer n.conn.RemoveStatusListener(closed)
	if err := n.subscribe(ctx); err != nil {
		return n.orClosed(err)
	}
	var beats sync.WaitGroup
	defer beats.Wait()
	defer cancel()
	beats.Go(func() { n.beat(ctx) })
	n.modules.restore(ctx)
	n.report()
	read := time.NewTicker(readEvery)
	defer read.Stop()
	for {
		entries := n.entries
		if n.reading {
			entries = nil // what is read may be older, and so comes first
		}
		select {
		case <-ctx.Done():
			return nil
		case <-closed:
			return n.orClosed(nil)
		case e := <-entries:
			n.modules.take(ctx, []fleet.Stored{*e})
		case list := <-n.read:
			n.reading = false
			if list != nil {
				n.modules.take(ctx, list)
			}
			if n.unread {
				n.readAll(ctx)
			}
		case <-n.changed:
			n.modules.fetches.forgetHub()
			n.readAll(ctx)
		case <-read.C:
			n.readAll(ctx)
		case f := <-n.modules.fetches.done:
			n.modules.fetched(ctx, f)
		case <-n.modules.lapse():
			n.modules.settle(ctx)
		}
		n.report()
	}
}

// orClosed returns an error, or why the connection is closed if it is.
func (n *Node) orClosed(err error) error {
	if n.conn.IsClosed() {
		return fmt.Errorf("%w: %w", errClosed, n.conn.Why(nats.ErrConnectionClosed))
	}
	return err
}

func (n *Node) subscribe(ctx context.Context) error {
	_, err := n.conn.Subscribe(fleet.DesiredSubject, func(msg *nats.Msg) {
		var s fleet.Stored
		if err := json.Unmarshal(msg.Data, &s); err != nil {
			n.log.Warn("an entry of the hub cannot be read", "error", err)
			return
		}
		select {
		case n.entries <- &s:
		default:
			n.wake() // too many at once: read all
		}
	})
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	_, err = n.conn.Subscribe(fleet.QuestionSubject("*"), func(msg *nats.Msg) { n.answers.take(ctx, msg) })
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	_, err = n.conn.Subscribe(fleet.ReceiptSubject("*", n.conn.Key()), n.answers.receive)
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	return nil
}

// readAll has all be read that the hub has. A hub that takes its time keeps no lease from
// ending.
func (n *Node) readAll(ctx context.Context) {
	if n.unread = n.reading; n.reading || !n.conn.IsConnected() {
		return
	}
	n.reading = true
	n.reads.Go(func() {
		list, err := n.conn.Desired(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Warn("what is to run cannot be read", "error", err)
		}
		if err == nil && list == nil {
			list = []fleet.Stored{} // there is nothing, and settle takes note
		}
		select {
		case n.read <- list:
		case <-ctx.Done():
		}
	})
}

// report says what the node runs. While there is no hub, nobody hears it.
func (n *Node) report() {
	b, err := n.encode()
	if err != nil {
		n.log.Warn("what runs is not reported", "error", err)
		return
	}
	n.telling.Lock()
	defer n.telling.Unlock()
	n.told = b
	n.send()
}

// encode returns what the node reports. Where many modules have failed, each reason is
// shorter.
func (n *Node) encode() (b []byte, err error) {
	for reason := maxReason; ; reason /= 2 {
		b, err = json.Marshal(fleet.Report{Facts: n.facts, Modules: n.modules.reports(reason)})
		if err != nil || len(b) <= fleet.MaxReport || reason == 0 {
			return b, err
		}
	}
}

// beat says the same again and again, until ctx ends. It has a goroutine of its
// own: a node that loads a module for a long time is not silent.
func (n *Node) beat(ctx context.Context) {
	tick := time.NewTicker(fleet.ReportEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.telling.Lock()
			if n.told != nil {
				n.send()
			}
			n.telling.Unlock()
		}
	}
}

// send sends the last report. Callers hold telling.
func (n *Node) send() {
	if !n.conn.IsConnected() {
		return
	}
	if err := n.conn.Publish(fleet.ReportSubject(n.conn.Key()), n.told); err != nil {
		n.log.Warn("what runs is not reported", "error", err)
	}
}
