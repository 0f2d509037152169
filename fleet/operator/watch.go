package operator

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/selector"
)

// Watch is a question to the nodes. Its functions are called one at a time. While
// one of them takes its time, no node waits: what does not fit there is lost, and
// counted.
type Watch struct {
	Where  string // an expression over items; "" means all
	Select string // one over nodes
	Lease  time.Duration

	// Record has the hub keep the answers, if it is not nil. It needs a name and
	// bounds.
	Record *fleet.Recording

	// OnLine gets the items of a node, in their order, as lines of a recording
	// without the newline. The first of each node is its start: what follows is
	// complete but for losses, which are items as well, whether the node has
	// dropped something or it was lost on its way.
	OnLine func(node NodeID, line []byte)

	// OnTrouble says why a node does not answer.
	OnTrouble func(node NodeID, why string)
}

// NodeID names a node: its key, and what it calls itself.
type NodeID struct{ Key, Name string }

// Run asks until ctx ends, and returns nil then.
func (w *Watch) Run(ctx context.Context, c *Conn) error {
	sel, err := selector.Parse(w.Select)
	if err != nil {
		return err
	}
	q := fleet.Question{ID: strings.ToLower(rand.Text()), Where: w.Where, Select: w.Select, Lease: w.Lease}
	if _, err := encode(&q); err != nil {
		return err
	}
	if w.Record != nil {
		r := *w.Record
		r.Question, r.Where, r.Select = q.ID, w.Where, w.Select
		if _, err := c.Ask(ctx, &fleet.Request{Op: fleet.Record, Recording: &r}); err != nil {
			return err
		}
	}
	nodes := newAnswering()
	nodes.receipt = func(node string, items uint64) {
		b, err := json.Marshal(fleet.Receipt{ID: q.ID, Items: items})
		if err == nil {
			_ = c.Publish(fleet.ReceiptSubject(c.Key(), node), b) // the node asks for it again
		}
	}
	var looks sync.WaitGroup
	defer looks.Wait()
	defer nodes.end()
	sub, err := c.Subscribe(fleet.AnswerSubject(c.Key(), q.ID, "*"), func(msg *nats.Msg) {
		w.take(nodes, msg.Subject[strings.LastIndexByte(msg.Subject, '.')+1:], msg.Data)
		nodes.read(msg.Sub, 1) // this one
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
		b, err := encode(&q)
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
	_, list, err := c.Chosen(ctx, sel)
	if err != nil && ctx.Err() == nil {
		return err
	}
	nodes.chosen.Store(int64(len(list)))
	// The nodes are looked at apart: that waits for the hub and the functions, and
	// the nodes must be asked again meanwhile.
	again := make(chan struct{}, 1)
	defer close(again)
	looks.Go(func() {
		for range again {
			_, list, err := c.Chosen(ctx, sel)
			if err != nil {
				continue // the connection may come back
			}
			nodes.chosen.Store(int64(len(list)))
			nodes.read(sub, 0)
			w.look(nodes, list)
		}
	})
	renew := time.NewTicker(max(w.Lease/3, fleet.MinLease/3))
	defer renew.Stop()
	// Connected anew, answers may be lost, and receipts; closed, it cannot ask again.
	changed := c.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer c.RemoveStatusListener(changed)
	for {
		pace(&q, int(nodes.chosen.Load()))
		nodes.window.Store(int64(q.Window))
		if err := ask(); err != nil {
			return fmt.Errorf("fleet: %w", c.Why(err))
		}
		select {
		case again <- struct{}{}:
		default: // it is busy
		}
		select {
		case <-renew.C:
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// encode returns a question as nodes get it.
func encode(q *fleet.Question) ([]byte, error) {
	b, err := json.Marshal(q)
	if err == nil && len(b) > fleet.MaxQuestion {
		err = fmt.Errorf("the question has %d bytes, and may have %d: shorten its expressions", len(b), fleet.MaxQuestion)
	}
	return b, err
}

// maxWaiting is how many bytes of answers wait for OnLine, at most: more than the
// nodes may send.
const maxWaiting = 256 << 20

// What all nodes together send, about: an operator reads few large answers faster
// than many small ones.
const (
	maxAnswers = 2000     // a second
	maxUnread  = 32 << 20 // bytes: a server of NATS closes a connection for which 64 MiB wait
)

// pace says how a number of nodes are to answer.
func pace(q *fleet.Question, nodes int) {
	nodes = max(nodes, 1)
	q.Gather, q.Window = time.Duration(nodes)*time.Second/maxAnswers, maxUnread/nodes
	q.Bound()
}

// Replay calls OnLine and OnTrouble with what a recording has, as Run did when
// it was made. What has made room for later answers is lost.
func (w *Watch) Replay(ctx context.Context, c *Conn, name string) error {
	nodes := newAnswering()
	return c.Recorded(ctx, name, func(a *fleet.RecordedAnswer) { w.take(nodes, a.Node, a.Answer) })
}
