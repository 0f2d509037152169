package otlp

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
)

// Counts are what became of spans or log records.
type Counts struct {
	Sent     uint64
	Rejected uint64 // by the collector
	Failed   uint64 // the collector could not be reached, or took none
}

// outboxEvery is how long what is ready waits for more at most, but for the
// time that the request before takes.
const outboxEvery = time.Second

// outbox sends a batch whenever it is full, and what there is every second. To
// add to it takes as long as sending takes: a queue stands before it.
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

// newOutbox returns an outbox. Of failures in a row report gets the first, and
// nil when it goes on; it may be nil.
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

// do does something with the batch, and counts what became of it.
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

// Counts returns what has become of what was taken. It may be called at any
// time.
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
