package ui

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
)

// feed reads a daemon's events, once for all pages. When the daemon ends, feed
// tries to connect again, and starts a new history.
type feed struct {
	client *daemon.Client
	query  url.Values
	size   int

	lines io.ReadCloser // opened by connect, closed by run

	mu   sync.Mutex // guards what follows
	now  *history   // nil while no daemon answers
	fail error      // why
}

func newFeed(c *daemon.Client, fields taskwatch.Fields, size int) *feed {
	query := url.Values{"events": {strings.Join(append(strings.Split(shown.String(), ","), taskwatch.FailedExecName), ",")}}
	if names := fields.Names(); len(names) > 0 {
		query.Set("fields", strings.Join(names, ","))
	}
	return &feed{client: c, query: query, size: size, fail: errors.New("the daemon has not answered yet")}
}

// connect opens the stream.
func (f *feed) connect(ctx context.Context) error {
	lines, err := f.client.Lines(ctx, f.query)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines, f.fail, f.now = lines, err, nil
	if err == nil {
		f.now = newHistory(f.size)
	}
	return err
}

// retry is the time between attempts to find a daemon that has ended.
const retry = time.Second

// run reads until ctx ends. connect has been called.
func (f *feed) run(ctx context.Context) {
	for {
		err := f.read()
		f.mu.Lock()
		h := f.now
		f.now, f.fail = nil, fmt.Errorf("the daemon has ended the stream: %w", err)
		f.mu.Unlock()
		h.end(errors.New("the daemon has ended the stream"))
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(retry):
			}
			if f.connect(ctx) == nil {
				break
			}
		}
	}
}

// read puts lines into the history until the stream ends.
func (f *feed) read() error {
	defer f.lines.Close()
	in := bufio.NewReaderSize(f.lines, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return err
		}
		// As many lines as are there make one part.
		for in.Buffered() > 0 && len(line) < batchSize {
			more, err := in.ReadBytes('\n')
			line = append(line, more...)
			if err != nil {
				return err
			}
		}
		f.now.add(line)
	}
}

// open returns what is known, and what follows.
func (f *feed) open(ctx context.Context) (*tape, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		return nil, f.fail
	}
	return f.now.open(ctx), nil
}
