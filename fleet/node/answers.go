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
	asked  map[string]*answer
	closed bool
	ended  sync.WaitGroup
}

// take takes a question: a new one, or one that is asked again. The subject says
// who asks.
func (as *answers) take(ctx context.Context, msg *nats.Msg) {
	var q fleet.Question
	asker := strings.TrimPrefix(msg.Subject, fleet.QuestionSubject(""))
	if err := json.Unmarshal(msg.Data, &q); err != nil || q.ID == "" || strings.ContainsAny(q.ID, ".*> \t") {
		as.node.log.Warn("a question cannot be read", "asker", asker, "error", err)
		return
	}
	q.Bound()
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.asked[asker+"."+q.ID]
	switch {
	case as.closed:
	case q.End:
		if a != nil {
			a.cancel()
		}
	case a != nil:
		a.lease.Reset(q.Lease)
		a.renew(&q)
	case as.chosen(&q):
		as.begin(ctx, asker, &q)
	}
}

// receive takes what an operator says that it has read.
func (as *answers) receive(msg *nats.Msg) {
	var r fleet.Receipt
	subject := strings.Split(msg.Subject, ".")
	asker := subject[len(subject)-2] // the node is the last one
	if err := json.Unmarshal(msg.Data, &r); err != nil {
		as.node.log.Warn("a receipt cannot be read", "asker", asker, "error", err)
		return
	}
	as.mu.Lock()
	a := as.asked[asker+"."+r.ID]
	as.mu.Unlock()
	if a != nil {
		a.receive(r.Items)
	}
}

func (as *answers) chosen(q *fleet.Question) bool {
	s, err := selector.Parse(q.Select)
	if err != nil {
		return false
	}
	chosen, err := s.Chooses(&as.node.facts)
	return err == nil && chosen
}

// begin answers a new question. Callers hold mu.
func (as *answers) begin(ctx context.Context, asker string, q *fleet.Question) {
	a := newAnswer(as.node, fleet.AnswerSubject(asker, q.ID, as.node.conn.Key()), q)
	if len(as.asked) >= fleet.MaxQuestions {
		a.end(fmt.Sprintf("the node answers %d questions already", fleet.MaxQuestions))
		return
	}
	ctx, a.cancel = context.WithCancel(ctx)
	a.lease = time.AfterFunc(q.Lease, a.cancel)
	as.asked[asker+"."+q.ID] = a
	as.node.log.Info("answering", "asker", asker, "where", q.Where)
	as.ended.Go(func() {
		err := as.node.cfg.Daemon.Answer(ctx, q.Where, a.send)
		a.lease.Stop()
		as.mu.Lock()
		delete(as.asked, asker+"."+q.ID)
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
