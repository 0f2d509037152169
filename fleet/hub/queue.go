package hub

import (
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// queue has the messages that wait for the service, those of a client in their order. The
// clients take turns, and each has room for some: one that sends without end holds up no
// other one, and does not fill the memory. Its methods may be called from any goroutine.
type queue struct {
	ready chan struct{} // has a value when something may wait

	mu    sync.Mutex           // guards the fields below
	byKey map[string]*waiting  // of clients that have something
	turns []*waiting           // the same, the next one first
	said  map[string]time.Time // when it was last said that something of a client was dropped
}

// waiting is what waits of a client.
type waiting struct {
	key   string
	msgs  []*nats.Msg
	bytes int
}

// sayEvery is how often it is said that a client does the same again and again.
const sayEvery = time.Minute

// What may wait of a client. The first message may be larger.
const (
	waitingOfOne = 64
	bytesOfOne   = 2 << 20
)

func newQueue() *queue {
	return &queue{ready: make(chan struct{}, 1), byKey: map[string]*waiting{}, said: map[string]time.Time{}}
}

// put adds a message of the client with a key, or drops it, and reports whether that is
// to be said: see sayEvery.
func (q *queue) put(key string, msg *nats.Msg) (say bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.byKey[key]
	if w == nil {
		w = &waiting{key: key}
		q.byKey[key], q.turns = w, append(q.turns, w)
	}
	if n := len(w.msgs); n >= waitingOfOne || n > 0 && w.bytes+len(msg.Data) > bytesOfOne {
		if say = time.Since(q.said[key]) >= sayEvery; say {
			q.said[key] = time.Now()
		}
		return say
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
		delete(q.byKey, w.key)
	}
	if len(q.turns) > 0 {
		q.wake()
	} else {
		maps.DeleteFunc(q.said, func(_ string, at time.Time) bool { return time.Since(at) >= sayEvery })
	}
	return msg
}

func (q *queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}
