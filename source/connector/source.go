package connector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/cnproc"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// Name is what events of this source name as their source.
const Name = "connector"

// Source watches tasks through the process connector. It implements
// [source.Source]. Its methods may be called from any goroutine.
type Source struct {
	cfg  Config
	used atomic.Bool

	mu    sync.Mutex // guards stats
	stats Stats
}

var _ source.Source = (*Source)(nil)

// Stats count what a source received and lost.
type Stats struct {
	BufferSize int    // bytes the socket's buffer really has
	Received   uint64 // messages
	Lost       uint64 // messages that are missing in the kernel's count
	Overruns   uint64 // times the socket's buffer was found to have been full
	Scans      uint64 // readings of all of /proc, the one at the start included
	Tasks      int    // that are known
}

// New returns a source. It tries a subscription and lets go of it again, so
// that a kernel that does not allow it is known now. Errors match
// os.ErrPermission where privileges would help.
func New(cfg Config) (*Source, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.PID != 0 {
		pid, err := source.ProcessOf(Name, cfg.PID)
		if err != nil {
			return nil, err
		}
		cfg.PID = pid
	}
	if err := Probe(); err != nil {
		return nil, err
	}
	return &Source{cfg: cfg}, nil
}

// Probe subscribes, waits for the kernel's answer, and unsubscribes.
func Probe() error {
	conn, err := cnproc.Open(DefaultBufferSize)
	if err != nil {
		return err
	}
	return conn.Close()
}

// Close does nothing: New takes nothing.
func (s *Source) Close() error { return nil }

// Name returns "connector".
func (s *Source) Name() string { return Name }

// Capabilities returns what the source delivers. It is the same on every
// kernel.
func (s *Source) Capabilities() source.Capabilities { return capabilities(&s.cfg) }

// Stats returns the counters. They are up to date to about a thousand
// messages while the source runs.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Run delivers events until ctx ends, or until all tasks in the scope of
// Config.PID have ended. What happened before ctx ended is delivered. All
// watchers are called by the calling goroutine.
func (s *Source) Run(ctx context.Context, reg *taskwatch.Registry) error {
	if s.used.Swap(true) {
		return errors.New("connector: a source runs once; make another with New")
	}
	conn, err := cnproc.Open(s.cfg.BufferSize)
	if err != nil {
		return err
	}
	st := &runner{
		src: s, feed: reg.Feed(), conn: conn,
		queue: newQueue(conn), tasks: newTasks(rand.Uint64()),
	}
	var filling sync.WaitGroup
	filling.Go(st.queue.fill)
	cancel := context.AfterFunc(ctx, func() { st.stop() })
	err = st.run()
	cancel()
	st.stop()
	filling.Wait()
	st.publish()
	return errors.Join(err, conn.Close())
}

// stop ends the queue with what has happened until now.
func (st *runner) stop() {
	if st.stopped.Swap(true) {
		return
	}
	if err := st.queue.stop(sys.Monotonic()); err != nil {
		st.queue.end(fmt.Errorf("connector: stop receiving: %w", err))
	}
}
