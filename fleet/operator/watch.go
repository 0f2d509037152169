package operator

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/selector"
)

// Watch is a question to the nodes. Its functions are called one at a time.
type Watch struct {
	Where  string // an expression over items; "" means all
	Select string // one over nodes
	Lease  time.Duration

	// Record has the hub keep the answers, if it is not nil. It needs a name and
	// bounds.
	Record *fleet.Recording

	// OnLine gets the items of a node, in their order, as lines of a recording
	// without the newline. The first of each node is its start: what follows is
	// complete.
	OnLine func(node NodeID, line []byte)

	// OnLost says that items of a node were lost on their way from there, between
	// the lines before and the lines that follow; 0 is an unknown number. What the
	// node itself has dropped is among the lines.
	OnLost func(node NodeID, count uint64)

	// OnTrouble says why a node does not answer.
	OnTrouble func(node NodeID, why string)
}

// NodeID names a node: its key, and what it calls itself.
type NodeID struct{ Key, Name string }

// answering is a node of which something is known.
type answering struct {
	id      NodeID
	items   uint64 // that were sent up to it
	heard   time.Time
	trouble string // that was told last
}

// Run asks until ctx ends, and returns nil then.
func (w *Watch) Run(ctx context.Context, c *Conn) error {
	sel, err := selector.Parse(w.Select)
	if err != nil {
		return err
	}
	q := fleet.Question{ID: strings.ToLower(rand.Text()), Where: w.Where, Select: w.Select, Lease: w.Lease}
	if w.Record != nil {
		r := *w.Record
		r.Question, r.Where, r.Select = q.ID, w.Where, w.Select
		if _, err := c.Ask(ctx, &fleet.Request{Op: fleet.Record, Recording: &r}); err != nil {
			return err
		}
	}
	nodes := newAnswering()
	defer nodes.end()
	sub, err := c.Subscribe(fleet.AnswerSubject(c.Key(), q.ID, "*"), func(msg *nats.Msg) {
		w.take(nodes, msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], msg.Data)
	})
	if err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	defer sub.Unsubscribe()
	// Answers have few bytes or many: bytes bound them, not their number.
	if err := sub.SetPendingLimits(-1, maxWaiting); err != nil {
		return fmt.Errorf("fleet: %w", err)
	}
	ask := func() error {
		b, err := json.Marshal(&q)
		if err == nil {
			err = c.Publish(fleet.QuestionSubject(c.Key()), b)
		}
		return err
	}
	defer func() {
		q.End = true
		if ask() == nil {
			_ = c.FlushTimeout(time.Second)
		}
	}()
	renew := time.NewTicker(max(w.Lease/3, fleet.MinLease/3))
	defer renew.Stop()
	began := time.Now()
	for first := true; ; first = false {
		if err := ask(); err != nil {
			return fmt.Errorf("fleet: %w", err)
		}
		if err := w.look(ctx, c, sel, nodes, began); err != nil && ctx.Err() == nil && first {
			return err // later, the connection may come back
		}
		select {
		case <-renew.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// maxWaiting is how many bytes of answers wait for OnLine.
const maxWaiting = 256 << 20

// look names the nodes that ought to answer and do not.
func (w *Watch) look(ctx context.Context, c *Conn, sel *selector.Selector, nodes *answeringNodes, began time.Time) error {
	list, _, err := c.Nodes(ctx, 0)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b fleet.NodeState) int {
		return cmp.Or(cmp.Compare(a.Report.Facts.Name, b.Report.Facts.Name), cmp.Compare(a.Key, b.Key))
	})
	nodes.mu.Lock()
	defer nodes.mu.Unlock()
	for _, n := range list {
		if chosen, err := sel.Chooses(&n.Report.Facts); err != nil || !chosen {
			continue
		}
		a := nodes.byKey[n.Key]
		if a == nil {
			a = &answering{id: NodeID{n.Key, n.Report.Facts.Name}, heard: began}
			nodes.byKey[n.Key] = a
		}
		why := ""
		switch {
		case n.Silent():
			why = fmt.Sprintf("it has not reported for %v", n.Age.Round(time.Second))
		case time.Since(a.heard) > w.Lease:
			why = fmt.Sprintf("it has not answered for %v", time.Since(a.heard).Round(time.Second))
		default:
			continue
		}
		if kind := why[:strings.LastIndex(why, " ")]; a.trouble != kind {
			a.trouble = kind
			w.OnTrouble(a.id, why)
		}
	}
	return nil
}

// answeringNodes are the nodes of which something is known.
type answeringNodes struct {
	mu    sync.Mutex // guards the fields below, and the calls of the functions of a Watch
	byKey map[string]*answering
	ended bool
}

func newAnswering() *answeringNodes { return &answeringNodes{byKey: map[string]*answering{}} }

// end has no function called any more.
func (ns *answeringNodes) end() {
	ns.mu.Lock()
	ns.ended = true
	ns.mu.Unlock()
}

// take takes an answer of the node with a key.
func (w *Watch) take(nodes *answeringNodes, key string, data []byte) {
	nodes.mu.Lock()
	defer nodes.mu.Unlock()
	if nodes.ended {
		return
	}
	var in fleet.Answer
	if err := json.Unmarshal(data, &in); err != nil || in.Items < uint64(len(in.Lines)) {
		w.OnTrouble(NodeID{Key: key}, "its answer cannot be read")
		return
	}
	a := nodes.byKey[key]
	if a == nil {
		a = &answering{id: NodeID{key, in.Name}}
		nodes.byKey[key] = a
	}
	a.id.Name = in.Name
	a.heard, a.trouble = time.Now(), ""
	switch sent := in.Items - uint64(len(in.Lines)); {
	case in.Items < a.items: // it was started again
		w.OnLost(a.id, 0)
	case sent > a.items:
		w.OnLost(a.id, sent-a.items)
	}
	a.items = in.Items
	for _, line := range in.Lines {
		w.OnLine(a.id, line)
	}
	if in.Error != "" {
		a.trouble = in.Error
		w.OnTrouble(a.id, in.Error)
	}
}

// Replay calls OnLine, OnLost and OnTrouble with what a recording has, as Run did
// when it was made. What has made room for later answers is lost.
func (w *Watch) Replay(ctx context.Context, c *Conn, name string) error {
	nodes := newAnswering()
	for revision := uint64(0); ; {
		r, err := c.Ask(ctx, &fleet.Request{Op: fleet.Recorded, Recording: &fleet.Recording{Name: name}, Revision: revision})
		if err != nil {
			return err
		}
		for _, a := range r.Recorded {
			w.take(nodes, a.Node, a.Answer)
		}
		if revision = r.Revision; !r.More {
			return nil
		}
	}
}
