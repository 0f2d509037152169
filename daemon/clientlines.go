package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"time"

	"github.com/taskwatch/taskwatch/record"
)

// FollowConfig says how [Client.Follow] continues when the connection is cut. The
// zero value is ready.
type FollowConfig struct {
	Patience time.Duration // how long a connection that was cut is tried again; 0 stands for DefaultPatience

	OnCut    func()          // called by Next when the connection was cut; may be nil
	OnResume func(anew bool) // called by Next when the stream continues, where it was or anew; may be nil
}

// Follow returns the lines of the daemon's stream of events from now on, as
// [Client.Lines] does with a query. When the connection is cut, they continue
// behind the last one that was read; what the daemon no longer has is a loss in
// its place. The caller closes it.
func (c *Client) Follow(ctx context.Context, query url.Values, cfg FollowConfig) (*ClientLines, error) {
	if cfg.Patience == 0 {
		cfg.Patience = DefaultPatience
	}
	l := &ClientLines{client: c, ctx: ctx, query: maps.Clone(query), cfg: cfg}
	if err := l.open(afterNow); err != nil {
		return nil, err
	}
	return l, nil
}

// ClientLines are the lines of a daemon's stream, across cuts of the connection:
// see [Client.Follow]. One goroutine uses it. Read returns them without saying
// where a stream begins anew; its lines then begin with another start.
type ClientLines struct {
	client *Client
	ctx    context.Context
	query  url.Values
	cfg    FollowConfig

	body *body
	at   after  // of the last line that was read
	anew bool   // body's first line is next
	left []byte // of what Read has to return
	err  error  // why there are no more
}

// open begins a stream, behind what was read.
func (l *ClientLines) open(behind string) error {
	l.query.Set("after", behind)
	b, err := l.client.begin(l.ctx, l.query)
	if err != nil {
		return err
	}
	l.anew = b.at.instance != l.at.instance
	l.body, l.at = b, b.at
	return nil
}

// Close ends the stream. It returns nil.
func (l *ClientLines) Close() error {
	if l.body != nil {
		_ = l.body.Close() // it was only read
	}
	return nil
}

// Next returns the lines that are there, one at least, and waits for it. They are
// valid until the next call. Where anew is set, they are the first ones of a
// stream, and what follows is about other tasks than before: at the first call,
// and when the daemon was started again or a connection was cut for too long. An
// error is final: the daemon rejects the stream, or Patience or the context has
// ended.
func (l *ClientLines) Next() (lines []byte, anew bool, err error) {
	for l.err == nil {
		if l.anew {
			l.anew = false
			return l.body.line, true, nil
		}
		// Whole lines only: what a cut has left of one comes again.
		lines, err := l.body.lines()
		if err == nil {
			last := lines[bytes.LastIndexByte(lines[:len(lines)-1], '\n')+1:]
			if pos, ok := record.Position(last); ok {
				l.at.pos = pos
			}
			return lines, false, nil
		}
		_ = l.Close()
		l.err = l.resume()
	}
	return nil, false, l.err
}

// Read implements io.Reader. The end is io.EOF, whatever its cause, which Err
// returns.
func (l *ClientLines) Read(b []byte) (n int, err error) {
	if len(l.left) == 0 {
		if l.left, _, err = l.Next(); err != nil {
			return 0, io.EOF
		}
	}
	n = copy(b, l.left)
	l.left = l.left[n:]
	return n, nil
}

// Err returns why there are no more lines, or nil.
func (l *ClientLines) Err() error { return l.err }

// How long a failed try is followed by none.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
)

// resume connects again.
func (l *ClientLines) resume() error {
	if l.cfg.OnCut != nil && l.ctx.Err() == nil {
		l.cfg.OnCut()
	}
	late := time.NewTimer(l.cfg.Patience)
	defer late.Stop()
	behind := l.at.String()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := l.open(behind)
		var final *rejection
		switch {
		case err == nil:
			if l.cfg.OnResume != nil {
				l.cfg.OnResume(l.anew)
			}
			return nil
		case l.ctx.Err() != nil:
			return l.ctx.Err()
		case errors.As(err, &final):
			return err
		}
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
			return l.ctx.Err()
		case <-late.C:
			return fmt.Errorf("the daemon at %s has ended the stream, and does not go on with it within %v: %w; start it, and watch again", l.client.socket, l.cfg.Patience, err)
		}
	}
}
