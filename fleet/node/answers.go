package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/selector"
)

// answers are the questions that the node answers.
type answers struct {
	node *Node

	mu     sync.Mutex // guards the fields below
	asked  map[string]*answer
	closed bool
	ended  sync.WaitGroup
}

// answer is a question that the node answers.
type answer struct {
	subject string
	cancel  context.CancelFunc
	lease   *time.Timer // cancels, too

	mu   sync.Mutex // guards the fields below, and the order of what is sent
	last fleet.Answer
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
	q.Lease = min(max(q.Lease, fleet.MinLease), fleet.MaxLease)
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
		a.say(as.node, nil, "") // it is alive, and has sent so much
	case as.chosen(&q):
		as.begin(ctx, asker, &q)
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
	a := &answer{subject: fleet.AnswerSubject(asker, q.ID, as.node.conn.Key())}
	if len(as.asked) >= fleet.MaxQuestions {
		a.say(as.node, nil, fmt.Sprintf("the node answers %d questions already", fleet.MaxQuestions))
		return
	}
	ctx, a.cancel = context.WithCancel(ctx)
	a.lease = time.AfterFunc(q.Lease, a.cancel)
	as.asked[asker+"."+q.ID] = a
	as.node.log.Info("answering", "asker", asker, "where", q.Where)
	as.ended.Go(func() {
		err := as.node.cfg.Daemon.Answer(ctx, q.Where, func(lines []byte, dropped uint64) error {
			return a.send(as.node, lines, dropped)
		})
		a.lease.Stop()
		as.mu.Lock()
		delete(as.asked, asker+"."+q.ID)
		as.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			a.say(as.node, nil, err.Error())
		}
		a.cancel()
	})
}

// maxAnswer is how many bytes of lines go in one answer, but for a single line.
const maxAnswer = 256 << 10

// send sends the lines of items. Losses that the node's queue has put into their
// places are among them.
func (a *answer) send(n *Node, lines []byte, dropped uint64) error {
	a.mu.Lock()
	a.last.Dropped = dropped
	a.mu.Unlock()
	var batch []json.RawMessage
	size := 0
	for line := range bytes.Lines(lines) {
		if size > 0 && size+len(line) > maxAnswer {
			a.say(n, batch, "")
			batch, size = nil, 0
		}
		batch = append(batch, bytes.TrimSuffix(line, []byte("\n")))
		size += len(line)
	}
	a.say(n, batch, "")
	return nil
}

// say sends an answer. One that cannot be sent is counted all the same, so that
// the asker sees a gap.
func (a *answer) say(n *Node, lines []json.RawMessage, failed string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last.Name, a.last.Error = n.facts.Name, failed
	a.last.Items += uint64(len(lines))
	out := a.last
	out.Lines = lines
	b, err := json.Marshal(&out)
	if err == nil {
		err = n.conn.Publish(a.subject, b)
	}
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		n.log.Warn("an answer is not sent", "items", len(lines), "error", err)
	}
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
