package daemon

import (
	"context"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source"
)

// lingers is how long items may wait for others before they are sent.
const lingers = 5 * time.Millisecond

// resumable is like stream, for a stream that may be resumed: it reads the ring,
// from where the client was cut.
func (d *Daemon) resumable(ctx context.Context, s *stream, send sender) error {
	if err := d.hub.admit(s, peerFrom(ctx).uid); err != nil {
		return err
	}
	defer d.hub.forget(s)
	leave, err := d.ring.join(s)
	if err != nil {
		return err
	}
	defer leave()
	c, err := d.ring.open(s.categories(), s.Only(), *s.after)
	if err != nil {
		return err
	}
	if err := d.prepare(ctx, s); err != nil {
		return err
	}
	lines := record.Append(nil, taskwatch.Item{Start: source.NewStart(d.source, nil)})
	lines = record.MarkPosition(record.MarkInstance(lines, c.head.instance), c.head.pos)
	if err := send(lines, 0, c.head.String()); err != nil {
		return err
	}
	for {
		p := c.read()
		lines, err := s.lines(lines[:0], c, &p, func(lines []byte) error {
			return send(lines, s.dropped(), after{c.head.instance, c.place}.String())
		})
		if err != nil {
			return err
		}
		if cap(lines) > 2*maxBatch { // one long line must not be kept for ever
			lines = nil
		}
		if len(p.items) > 0 || p.lost {
			select {
			case <-d.ending:
				return ErrClosing
			default:
				continue // send fails where the client has gone
			}
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-d.ending:
			return ErrClosing
		}
		select { // others come soon
		case <-time.After(lingers):
		case <-ctx.Done():
		}
	}
}

// lines sends the stream's part of a passage. It uses the buffer and returns it.
func (s *stream) lines(b []byte, c *cursor, p *passage, send func([]byte) error) ([]byte, error) {
	if p.lost {
		s.missed.Add(p.count)
		if s.chosenByTask() {
			p.count = 0 // nobody knows which of them were the stream's
		}
		b = record.MarkPosition(record.Append(b, taskwatch.Item{Loss: &taskwatch.Loss{Count: p.count, Seq: p.seq}}), c.place)
		if err := s.look(); err != nil { // the processes of what is lost are unknown
			return b, err
		}
	}
	for i := range p.items {
		e := &p.items[i]
		if c.advance(e) || !c.set[e.of] {
			s.pass(e.it)
			continue
		}
		if !s.chooses(e.it) {
			continue
		}
		b = s.shared.append(b, e.it, s.optional)
		if s.where != nil && e.it.Loss == nil && s.where.marks.Take(e.it) {
			b = record.MarkUnsure(b)
		}
		if b = record.MarkPosition(b, c.place); len(b) >= maxBatch {
			if err := send(b); err != nil {
				return b, err
			}
			b = b[:0]
		}
	}
	if len(b) == 0 {
		return b, nil
	}
	return b, send(b)
}

// chosenByTask reports whether the stream selects by task.
func (s *stream) chosenByTask() bool {
	f := s.filter
	return f.pid != 0 || f.uids != nil || f.comm != "" || f.exe != "" || s.where != nil
}

// pass processes an item that is not sent.
func (s *stream) pass(it taskwatch.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it.Event != nil {
		s.filter.follow(it.Event)
	}
	s.where.follow(it)
}

// categories returns the categories that the stream selects.
func (s *stream) categories() (set categories) {
	for _, k := range s.kinds.List() {
		set[ofEvent+category(k)] = true
		set[ofFailure+category(k)] = !s.eventsOnly
	}
	for k := range taskwatch.Kind(taskwatch.NumLists - taskwatch.NumKinds) {
		set[ofFailure+taskwatch.NumKinds+category(k)] = !s.eventsOnly
	}
	set[ofRecord], set[ofFailed], set[ofLoss] = !s.eventsOnly, s.failed, true
	return set
}
