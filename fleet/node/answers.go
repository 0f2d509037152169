package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/selector"
)

// answers are the questions that the node answers. The lock order is its mu, that
// of an answer.
type answers struct {
	node *Node

	mu     sync.Mutex // guards the fields below
	asked  map[asked]*answer
	heard  map[string]*heard // of an operator, since a time
	since  time.Time
	closed bool
	ended  sync.WaitGroup
}

// asked is a question of an operator.
type asked struct{ asker, id string }

// heard is what came of an operator in a time.
type heard struct {
	messages int
	bytes    int // of the expressions of new questions
}

// How many messages about questions a node takes of an operator in a time, how many bytes of
// expressions it reads, and of how many operators: one that asks without end, or a hub that
// makes them up, costs it neither a processor nor memory. The longest expression takes about a second to
// read. The others are dropped; what is asked again is taken then.
const (
	maxHeard   = 400
	maxRead    = fleet.MaxQuestion
	maxAskers  = 1000
	heardEvery = 10 * time.Second
)

// hears reports whether a message of an operator is taken.
func (as *answers) hears(asker string) bool {
	as.mu.Lock()
	defer as.mu.Unlock()
	if now := time.Now(); now.Sub(as.since) >= heardEvery {
		as.heard, as.since = map[string]*heard{}, now
	}
	h := as.heard[asker]
	if h == nil {
		if len(as.heard) >= maxAskers {
			return false
		}
		h = &heard{}
		as.heard[asker] = h
	}
	if h.messages++; h.messages == maxHeard+1 {
		as.node.log.Warn("an operator asks too often, and some of it is dropped", "asker", asker)
	}
	return h.messages <= maxHeard
}

// reads reports whether the expressions of a new question are read. Callers hold mu, and
// hears has taken the message.
func (as *answers) reads(asker string, q *fleet.Question) bool {
	h := as.heard[asker]
	before := h.bytes
	h.bytes += len(q.Where) + len(q.Select)
	if before <= maxRead && h.bytes > maxRead {
		as.node.log.Warn("an operator asks too much, and some of it is dropped", "asker", asker)
	}
	return h.bytes <= maxRead
}

// take takes a question: a new one, or one that is asked again. The subject says
// who asks.
func (as *answers) take(ctx context.Context, msg *nats.Msg) {
	var q fleet.Question
	asker := strings.TrimPrefix(msg.Subject, fleet.QuestionSubject(""))
	if !as.hears(asker) {
		return
	}
	if len(msg.Data) > fleet.MaxQuestion {
		as.node.log.Warn("a question is too long", "asker", asker, "bytes", len(msg.Data), "limit", fleet.MaxQuestion)
		return
	}
	if err := json.Unmarshal(msg.Data, &q); err != nil || !fleet.ValidQuestion(q.ID) {
		as.node.log.Warn("a question cannot be read", "asker", asker, "error", err)
		return
	}
	q.Bound()
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.asked[asked{asker, q.ID}]
	switch {
	case as.closed:
	case q.End:
		if a != nil {
			a.cancel()
		}
	case a != nil:
		a.lease.Reset(q.Lease)
		a.renew(&q)
	case as.reads(asker, &q) && as.chosen(&q):
		as.begin(ctx, asker, &q)
	}
}

// receive takes what an operator says that it has read.
func (as *answers) receive(msg *nats.Msg) {
	var r fleet.Receipt
	subject := strings.Split(msg.Subject, ".")
	asker := subject[len(subject)-2] // the node is the last one
	if len(msg.Data) > maxReceipt {
		return
	}
	if err := json.Unmarshal(msg.Data, &r); err != nil {
		as.node.log.Warn("a receipt cannot be read", "asker", asker, "error", err)
		return
	}
	as.mu.Lock()
	a := as.asked[asked{asker, r.ID}]
	as.mu.Unlock()
	if a != nil {
		a.receive(r.Items)
	}
}

// maxLogged is how many bytes of an expression the log has.
const maxLogged = 200

// maxReceipt is how many bytes a receipt has, at most.
const maxReceipt = 1 << 10

func (as *answers) chosen(q *fleet.Question) bool {
	s, err := selector.Parse(q.Select)
	if err != nil {
		return false
	}
	chosen, err := s.Chooses(&as.node.facts)
	return err == nil && chosen
}

// full says why the node answers no further question of an operator, or nothing. No
// operator takes the room of all others. Callers hold mu.
func (as *answers) full(asker string) string {
	own := 0
	for q := range as.asked {
		if q.asker == asker {
			own++
		}
	}
	switch {
	case own >= fleet.MaxQuestionsOfOne:
		return fmt.Sprintf("it answers %d questions of this client already, and no more at a time; end one of them", own)
	case len(as.asked) >= fleet.MaxQuestions:
		return fmt.Sprintf("it answers %d questions already, and no more at a time; this one waits until another one ends", len(as.asked))
	}
	return ""
}

// begin answers a new question. Callers hold mu.
func (as *answers) begin(ctx context.Context, asker string, q *fleet.Question) {
	a := newAnswer(as.node, fleet.AnswerSubject(asker, q.ID, as.node.conn.Key()), q)
	if why := as.full(asker); why != "" {
		a.end(why)
		return
	}
	key := asked{asker, q.ID}
	ctx, a.cancel = context.WithCancel(ctx)
	a.lease = time.AfterFunc(q.Lease, a.cancel)
	as.asked[key] = a
	as.node.log.Info("answering", "asker", asker, "where", short(q.Where, maxLogged))
	as.ended.Go(func() {
		err := as.node.cfg.Daemon.Answer(ctx, q.Where, a.send)
		a.lease.Stop()
		as.mu.Lock()
		delete(as.asked, key)
		as.mu.Unlock()
		failed := ""
		if err != nil && ctx.Err() == nil {
			failed = err.Error()
		}
		a.end(failed)
		a.cancel()
	})
}

// end ends all answers, and returns when nothing is sent any more.
func (as *answers) end() {
	as.mu.Lock()
	as.closed = true
	for _, a := range as.asked {
		a.cancel()
	}
	as.mu.Unlock()
	as.ended.Wait()
}
