package hub

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// queue has the messages that wait for the service, those of a client in their order. The
// clients take turns, and each has room for some: one that sends without end holds up no
// other one, and does not fill the memory. Its methods may be called from any goroutine.
type queue struct {
	ready chan struct{} // has a value when something may wait

	mu    sync.Mutex // guards the fields below
	byKey map[string]*waiting
	turns []*waiting // those that have something, the next one first
}

// waiting is what waits of a client.
type waiting struct {
	msgs  []*nats.Msg
	bytes int
	said  time.Time // that something was dropped
}

// What may wait of a client. The first message may be larger.
const (
	waitingOfOne = 64
	bytesOfOne   = 2 << 20
)

func newQueue() *queue {
	return &queue{ready: make(chan struct{}, 1), byKey: map[string]*waiting{}}
}

// put adds a message of the client with a key, or drops it, and reports whether that is
// to be said: once a minute.
func (q *queue) put(key string, msg *nats.Msg) (say bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.byKey[key]
	if w == nil {
		w = &waiting{}
		q.byKey[key] = w
	}
	if n := len(w.msgs); n >= waitingOfOne || n > 0 && w.bytes+len(msg.Data) > bytesOfOne {
		if say = time.Since(w.said) >= time.Minute; say {
			w.said = time.Now()
		}
		return say
	}
	if len(w.msgs) == 0 {
		q.turns = append(q.turns, w)
	}
	w.msgs = append(w.msgs, msg)
	w.bytes += len(msg.Data)
	q.wake()
	return false
}

// next returns the message whose turn it is, or nil.
func (q *queue) next() *nats.Msg {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.turns) == 0 {
		return nil
	}
	w := q.turns[0]
	q.turns = q.turns[1:]
	msg := w.msgs[0]
	w.bytes -= len(msg.Data)
	if w.msgs = w.msgs[1:]; len(w.msgs) > 0 {
		q.turns = append(q.turns, w)
	} else {
		w.msgs = nil
	}
	if len(q.turns) > 0 {
		q.wake()
	}
	return msg
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
