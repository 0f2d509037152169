package connector

import (
	"errors"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/cnproc"
)

// The What of records that no message brought, and that stand where messages
// are missing: overrun where the socket's buffer was found to have been full,
// and gap, with the count as its Code, where numbers are.
const (
	overrun cnproc.What = 0xffffffff - iota
	gap
)

// queue holds what was received and not yet handled. One goroutine fills it
// as fast as messages come, so that a slow watcher costs memory and not
// messages; another empties it, and may look ahead.
type queue struct {
	conn *cnproc.Conn
	max  int // records; when it holds more, messages are left in the socket

	mu    sync.Mutex // guards the fields below
	in    []cnproc.Record
	gaps  gaps
	holes int             // records of overruns and gaps that are not handled
	ahead map[int]changes // by tid, of tasks with such records in the queue
	err   error           // why nothing more will come
	more  sync.Cond       // there is something in in, or err is set
	room  sync.Cond       // in was taken
	until int64           // CLOCK_MONOTONIC after which records are not wanted; 0 is never
}

// changes are the times of a task's last records in the queue that change
// what /proc says of it; 0 is none.
type changes struct{ exec, uid, gid, comm int64 }

// maxQueue bounds the memory of a queue to some tens of megabytes. Tests make
// it small.
var maxQueue = 1 << 18

func newQueue(conn *cnproc.Conn) *queue {
	q := &queue{conn: conn, max: maxQueue, gaps: newGaps(), ahead: make(map[int]changes)}
	q.more.L, q.room.L = &q.mu, &q.mu
	return q
}

// add is called by conn's Receive, for one record at a time.
func (q *queue) add(r *cnproc.Record) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.until != 0 && r.NS > q.until {
		return
	}
	if r.What == overrun {
		q.holes++
	} else if n := q.gaps.check(r); n > 0 {
		q.holes++
		q.in = append(q.in, cnproc.Record{What: gap, Code: uint32(n)})
	}
	q.in = append(q.in, *r)
	c := q.ahead[r.TID]
	switch r.What {
	case cnproc.Exec:
		c.exec = r.NS
	case cnproc.UID:
		c.uid = r.NS
	case cnproc.GID:
		c.gid = r.NS
	case cnproc.Comm:
		c.comm = r.NS
	default:
		return
	}
	q.ahead[r.TID] = c
}

// fill receives until Interrupt is called on the connection, takes what came
// before that, and ends the queue.
func (q *queue) fill() {
	for {
		err := q.receive(true)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = q.pump()
		}
		if err != nil {
			q.end(err)
			return
		}
		q.mu.Lock()
		for len(q.in) > q.max && q.until == 0 {
			q.room.Wait()
		}
		interrupted := q.until != 0
		q.mu.Unlock()
		if interrupted {
			q.end(q.pump())
			return
		}
	}
}

func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil {
		err = errDone
	}
	q.err = err
	q.more.Broadcast()
}

var errDone = errors.New("no more records are wanted")

// receive takes one batch. Losses are recorded, not returned.
func (q *queue) receive(wait bool) error {
	err := q.conn.Receive(wait, q.add)
	if errors.Is(err, cnproc.ErrOverrun) || errors.Is(err, cnproc.ErrShort) {
		q.add(&cnproc.Record{What: overrun})
		err = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.in) > 0 {
		q.more.Signal()
	}
	return err
}

// pump takes, without waiting, everything that the socket holds now: after it
// returned, the queue has every message that was sent before the call.
func (q *queue) pump() error {
	for range 1 << 12 { // batches: who sends faster than that cannot be caught up with
		err := q.receive(false)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stop makes the queue end with the records of the time now.
func (q *queue) stop(now int64) error {
	q.mu.Lock()
	q.until = now
	q.room.Broadcast()
	q.mu.Unlock()
	return q.conn.Interrupt()
}

// empty reports whether nothing waits.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.in) == 0
}

// take waits for records and exchanges them for the memory of old ones. It
// returns none, and the reason, at the end of the queue.
func (q *queue) take(old []cnproc.Record) ([]cnproc.Record, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.in) == 0 {
		if q.err != nil {
			return nil, q.err
		}
		q.more.Wait()
	}
	const keep = 1 << 14 // records: more than that is given back after a burst
	if cap(old) > keep {
		old = nil
	}
	got := q.in
	q.in = old[:0]
	q.room.Signal()
	return got, nil
}

// handled says that a record is no longer ahead.
func (q *queue) handled(r *cnproc.Record) {
	switch r.What {
	case cnproc.Exec, cnproc.UID, cnproc.GID, cnproc.Comm, overrun, gap:
	default:
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if r.What == overrun || r.What == gap {
		q.holes--
		return
	}
	c := q.ahead[r.TID]
	for _, ns := range [...]*int64{&c.exec, &c.uid, &c.gid, &c.comm} {
		if *ns <= r.NS {
			*ns = 0
		}
	}
	if c == (changes{}) {
		delete(q.ahead, r.TID)
	} else {
		q.ahead[r.TID] = c
	}
}

// changed returns what of a task has changed after the time ns, as far as it
// was received.
func (q *queue) changed(tid int, ns int64) changes {
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.ahead[tid]
	for _, at := range [...]*int64{&c.exec, &c.uid, &c.gid, &c.comm} {
		if *at <= ns {
			*at = 0
		}
	}
	return c
}

// torn reports whether messages are missing among those that are not handled.
func (q *queue) torn() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.holes > 0
}

// contains reports whether a record waits for which is is true.
func (q *queue) contains(is func(cnproc.Record) bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.in, is)
}

// exits counts the records of exits that wait, by tid.
func (q *queue) exits(count map[int]int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	addExits(count, q.in)
}

func addExits(count map[int]int, records []cnproc.Record) {
	for i := range records {
		if records[i].What == cnproc.Exit {
			count[records[i].TID]++
		}
	}
}
