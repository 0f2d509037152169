package otlp

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// Counts says how many spans or log records were sent and dropped.
type Counts struct {
	Sent     uint64
	Rejected uint64 // by the collector
	Failed   uint64 // the collector could not be reached, or took none
}

// outboxEvery is the longest time that something waits for more to be sent with
// it, not counting the time of the previous request.
const outboxEvery = time.Second

// outbox sends a batch when it is full, and once a second what there is. Adding
// blocks while it sends, so it belongs behind a queue.
type outbox[T proto.Message] struct {
	report func(error)

	ctx   context.Context // ends requests
	stop  context.CancelFunc
	timer sync.WaitGroup
	done  chan struct{}

	mu    sync.Mutex // guards what follows, also while a request is on its way
	batch batch[T]
	wrong bool // the last request has failed

	counts struct {
		sync.Mutex
		Counts
	}
}

// newOutbox returns an outbox. report is called with the first of several
// failures in a row, and with nil when sending works again; it may be nil.
func newOutbox[T proto.Message](to Sender, data func([]T) proto.Message, report func(error)) *outbox[T] {
	o := &outbox[T]{report: report, done: make(chan struct{})}
	o.batch = batch[T]{to: to, data: data}
	o.ctx, o.stop = context.WithCancel(context.Background())
	o.timer.Go(func() {
		tick := time.NewTicker(outboxEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				o.do(func() error { return o.batch.flush(o.ctx) })
			case <-o.done:
				return
			}
		}
	})
	return o
}

// do calls a function with the batch and counts the result.
func (o *outbox[T]) do(what func() error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.batch.sent + o.batch.failed + o.batch.rejected
	err := what()
	b := &o.batch
	o.counts.Lock()
	o.counts.Counts = Counts{Sent: b.sent, Rejected: b.rejected, Failed: b.failed}
	o.counts.Unlock()
	tried := b.sent+b.failed+b.rejected > before
	if tried && o.report != nil && (err != nil) != o.wrong {
		o.report(err)
	}
	if tried {
		o.wrong = err != nil
	}
	return err
}

func (o *outbox[T]) add(part T) {
	_ = o.do(func() error {
		err := o.batch.add(o.ctx, part)
		if err != nil { // of those before
			o.batch.parts = append(o.batch.parts, part)
			o.batch.bytes += proto.Size(part)
		}
		return err
	})
}

// Counts returns the counts so far. It may be called at any time.
func (o *outbox[T]) Counts() Counts {
	o.counts.Lock()
	defer o.counts.Unlock()
	return o.counts.Counts
}

// close sends what there is, until ctx ends.
func (o *outbox[T]) close(ctx context.Context) error {
	defer context.AfterFunc(ctx, o.stop)()
	close(o.done)
	o.timer.Wait()
	err := o.do(func() error { return o.batch.flush(o.ctx) })
	o.stop()
	return err
}
