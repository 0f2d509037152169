package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/taskwatch/taskwatch/record"
)

// clientLines are the lines of a daemon's stream, across cuts of the connection.
// One goroutine uses it.
type clientLines struct {
	source *ClientSource
	ctx    context.Context
	query  url.Values

	body *body
	at   after  // of the last line that was read
	left []byte // of the lines that were read
	err  error  // why there are no more
}

// open begins a stream, behind what was read.
func (l *clientLines) open(behind string) error {
	l.query.Set("after", behind)
	b, err := l.source.open(l.ctx, l.query)
	if err != nil {
		return err
	}
	l.body, l.at = b, b.at
	return nil
}

func (l *clientLines) close() {
	if l.body != nil {
		_ = l.body.Close()
	}
}

// Read reads whole lines only: what a cut has left of one comes again.
func (l *clientLines) Read(b []byte) (n int, err error) {
	for len(l.left) == 0 {
		if l.err != nil {
			return 0, io.EOF
		}
		line, err := l.body.ReadBytes('\n')
		if err == nil {
			l.left = line
			if pos, ok := record.Position(line); ok {
				l.at.pos = pos
			}
			continue
		}
		l.close()
		if l.err = l.resume(); l.err != nil {
			return 0, io.EOF
		}
	}
	n = copy(b, l.left)
	l.left = l.left[n:]
	return n, nil
}

// How long a failed try is followed by none.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
)

// resume connects again.
func (l *clientLines) resume() error {
	cfg, socket := &l.source.cfg, l.source.client.socket
	notice := func(format string, args ...any) {
		if cfg.OnNotice != nil && l.ctx.Err() == nil {
			cfg.OnNotice(fmt.Sprintf(format, args...))
		}
	}
	notice("the daemon at %s has ended the stream; trying to go on for %v", socket, cfg.Patience)
	instance, behind := l.at.instance, l.at.String()
	late := time.NewTimer(cfg.Patience)
	defer late.Stop()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := l.open(behind)
		var final *rejection
		switch {
		case err == nil && l.at.instance == instance:
			notice("the daemon's stream goes on where it was")
			return nil
		case err == nil:
			l.left = l.body.line // what follows is of other tasks
			notice("the daemon's stream begins anew: it was started again, or has waited too long")
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
			return fmt.Errorf("the daemon at %s has ended the stream, and does not go on with it within %v: %w; start it, and watch again", socket, cfg.Patience, err)
		}
	}
}
