package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch/fleet"
)

// answer is a question that the node answers.
//
// It sends when it has not sent for a while (Question.Gather), or when much waits,
// but no more than the operator may leave unread (Question.Window). Then send
// waits, and the queue of the daemon's stream behind it drops and counts.
type answer struct {
	node    *Node
	subject string
	cancel  context.CancelFunc
	lease   *time.Timer   // cancels, too
	room    chan struct{} // has a value when some was read

	mu     sync.Mutex // guards the fields below, and the order of what is sent
	last   fleet.Answer
	gather time.Duration
	window int

	lines []byte // that wait, joined by commas
	count uint64 // of their items
	sent  time.Time
	timer *time.Timer // sends what waits

	unread      []batch // sent, and not read by the operator
	unreadBytes int
	asked       bool // for a receipt
}

// batch is what an answer had.
type batch struct {
	last  uint64 // the number of its last item
	bytes int
}

func newAnswer(n *Node, subject string, q *fleet.Question) *answer {
	a := &answer{node: n, subject: subject, room: make(chan struct{}, 1), last: fleet.Answer{Name: n.facts.Name, Began: time.Now().UnixNano()}, gather: q.Gather, window: q.Window}
	a.timer = time.AfterFunc(fleet.MaxLease, a.due)
	a.timer.Stop()
	return a
}

// maxAnswer is how many bytes of lines go in one answer, but for a single line.
const maxAnswer = 256 << 10

// send sends the lines of items, now or soon. Losses that the node's queue has put
// into their places are among them.
func (a *answer) send(ctx context.Context, lines []byte, dropped uint64) error {
	for line := range bytes.Lines(lines) {
		for !a.add(bytes.TrimSuffix(line, []byte("\n"))) {
			select {
			case <-a.room:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last.Dropped = dropped
	a.settle()
	return nil
}

// add adds a line to what waits, and reports whether there was room.
func (a *answer) add(line []byte) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.count > 0 && len(a.lines)+len(line) > min(maxAnswer, a.window/2) && !a.flush() {
		return false
	}
	if a.count > 0 {
		a.lines = append(a.lines, ',')
	}
	a.lines = append(a.lines, line...)
	a.count += standsFor(line)
	return true
}

// standsFor returns how many items a line is: a loss is as many as were lost.
func standsFor(line []byte) uint64 {
	if !bytes.HasPrefix(line, []byte(`{"event":"lost"`)) {
		return 1
	}
	var loss struct{ Count uint64 }
	_ = json.Unmarshal(line, &loss) // it is one of ours
	return max(loss.Count, 1)
}

// due is called when what waits has waited long enough.
func (a *answer) due() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settle()
}

// settle sends what waits, or sees to it that it is sent when it is time. Callers
// hold mu.
func (a *answer) settle() {
	if a.count == 0 {
		return
	}
	if wait := a.gather - time.Since(a.sent); wait > 0 {
		a.timer.Reset(wait)
		return
	}
	a.flush()
}

// flush sends what waits unless the operator has too much to read, and reports
// whether nothing waits any more. Callers hold mu.
func (a *answer) flush() bool {
	if a.count == 0 {
		return true
	}
	if a.unreadBytes > 0 && a.unreadBytes+len(a.lines) > a.window {
		if !a.asked {
			a.asked = true
			a.say("", nil)
		}
		return false
	}
	a.last.Items, a.last.Count = a.last.Items+a.count, a.count
	a.unread = append(a.unread, batch{a.last.Items, len(a.lines)})
	a.unreadBytes += len(a.lines)
	a.say("", a.lines)
	a.last.Count = 0
	a.lines, a.count, a.sent = a.lines[:0], 0, time.Now()
	if cap(a.lines) > 2*maxAnswer { // one long line must not be kept for ever
		a.lines = nil
	}
	return true
}

// receive takes a receipt for the items up to one.
func (a *answer) receive(items uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for ; n < len(a.unread) && a.unread[n].last <= items; n++ {
		a.unreadBytes -= a.unread[n].bytes
	}
	a.unread = append(a.unread[:0], a.unread[n:]...)
	a.asked = false
	a.settle()
	select {
	case a.room <- struct{}{}:
	default:
	}
}

// renew takes a question that is asked again, and says how much was sent.
func (a *answer) renew(q *fleet.Question) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gather, a.window = q.Gather, q.Window
	a.settle()
	a.say("", nil)
}

// end sends what waits, and why there is no more; "" says nothing.
func (a *answer) end(failed string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer.Stop()
	a.flush()
	if failed != "" {
		a.say(failed, nil)
	}
}

// say sends an answer. One that cannot be sent is counted all the same, so that
// the asker sees a gap. Callers hold mu.
func (a *answer) say(failed string, lines []byte) {
	a.last.Error = failed
	b, err := json.Marshal(&a.last)
	if err == nil {
		if len(lines) > 0 { // they are JSON
			b = append(append(append(b[:len(b)-1], `,"lines":[`...), lines...), "]}"...)
		}
		err = a.node.conn.Publish(a.subject, b)
	}
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		a.node.log.Warn("an answer is not sent", "error", err)
	}
}
