// Package replay is the source of what was recorded: it feeds the JSON lines
// of package record to a registry as a live source feeds events. It needs no
// privileges and runs no system call but the reads.
//
// Times, sequence numbers, task ids and the name of the source are those of
// the recording, and a recording made of a replay equals the original. One
// task has one *taskwatch.Task from its first event to its free event, whose
// fields follow what the events say. Nothing waits: the events come as fast
// as they are read. Every event is final, because nothing that happened can
// be vetoed.
//
// Losses, recorded failures of watchers and records of modules are delivered
// where they were recorded. The modules that failed are not the ones that run
// now, and nothing is counted for these.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source"
)

// Config says what is replayed, and how. Only Reader is required.
type Config struct {
	Reader io.Reader // of the recording; it stays the caller's
	Name   string    // the recording's, that of its file, for errors

	// Scan makes New read the recording once from end to end, so that the
	// capabilities are those of this very recording. It needs an
	// io.ReadSeeker.
	Scan bool

	// Choose, if set, says which items are delivered. The goroutine of Run calls it
	// for each item.
	Choose func(taskwatch.Item) bool
}

// Source replays one recording. It implements [source.Source].
type Source struct {
	cfg  Config
	caps source.Capabilities

	tasks tasks
	early []record.EarlyEnd
	empty bool
}

var _ source.Source = (*Source)(nil)

// New returns a source that reads a recording. It fails only if Config.Scan is
// set and the recording cannot be read twice. Errors in the recording are
// returned by Run, which delivers everything before them.
func New(cfg Config) (*Source, error) {
	s := &Source{cfg: cfg, caps: unread()}
	if cfg.Reader == nil {
		return nil, errors.New("replay: Config.Reader is nil; set it to the recording")
	}
	if !cfg.Scan {
		return s, nil
	}
	name := cfg.Name
	seeker, ok := cfg.Reader.(io.ReadSeeker)
	if !ok {
		return nil, fmt.Errorf("replay: %q cannot be read twice; leave out the scan or give a file", name)
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("replay: %q cannot be read twice; leave out the scan or give a file: %w", name, err)
	}
	s.caps = scan(record.NewReader(cfg.Reader, name))
	if _, err := seeker.Seek(start, io.SeekStart); err != nil {
		return nil, fmt.Errorf("replay: going back to the start of %q failed: %w", name, err)
	}
	return s, nil
}

// Close does nothing: the reader stays the caller's.
func (s *Source) Close() error { return nil }

// Name returns "replay". Events carry the name of the source that was
// recorded.
func (s *Source) Name() string { return "replay" }

// Capabilities returns what the recording holds if it was scanned, else that
// any event may come.
func (s *Source) Capabilities() source.Capabilities { return s.caps }

// EarlyEnds returns where recordings ended early. Call it after Run.
func (s *Source) EarlyEnds() []record.EarlyEnd { return s.early }

// Empty reports whether the recording ended without a single item. Call it after Run.
func (s *Source) Empty() bool { return s.empty }

// Run delivers the recording to reg. It returns nil at the end of the
// recording, and a *record.SyntaxError, which names file, line and reason, where the
// recording cannot be read any further; everything before was delivered.
//
// When ctx ends Run returns nil before the next line. A read that blocks then
// is interrupted if the reader has a SetReadDeadline that works, as pipes and
// sockets have that package os opened, and otherwise waited for.
func (s *Source) Run(ctx context.Context, reg *taskwatch.Registry) error {
	if d, ok := s.cfg.Reader.(interface{ SetReadDeadline(time.Time) error }); ok {
		stop := context.AfterFunc(ctx, func() {
			_ = d.SetReadDeadline(time.Unix(1, 0)) // files cannot, and need not
		})
		defer stop()
	}
	in, feed := record.NewReader(s.cfg.Reader, s.cfg.Name), reg.Feed()
	defer func() { s.early = in.EarlyEnds() }()
	feed.Follow(s.tasks.visit)
	defer feed.End()
	s.tasks.forget = feed.Forget
	for first := true; ctx.Err() == nil; first = false {
		feed.Pause()
		l, err := in.Next()
		feed.Resume()
		s.empty = first && errors.Is(err, io.EOF)
		switch {
		case errors.Is(err, io.EOF) || err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case s.cfg.Choose != nil && !s.cfg.Choose(l):
		case l.Event != nil:
			s.event(feed, l.Event)
		case l.Start != nil:
			s.tasks.forgetAll() // their ids do not go on
			feed.Deliver(l)
		default:
			feed.Deliver(l)
		}
	}
	return nil
}

func (s *Source) event(feed *taskwatch.Feed, ev *taskwatch.Event) {
	ev.Task = s.tasks.update(ev)
	ev.Final = true
	_ = feed.Notify(ev) // the sinks get it, and there is nothing to deny
	if ev.Kind == taskwatch.Free {
		s.tasks.remove(ev.Task.ID)
	}
}
