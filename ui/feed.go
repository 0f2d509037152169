package ui

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
)

// feed reads a daemon's events, once for all pages. When the connection is cut,
// it continues where it was, and pages do too. When the daemon was started again,
// its tasks have other ids, and feed begins a new history.
type feed struct {
	client *daemon.Client
	query  url.Values
	size   int

	lines *daemon.ClientLines // opened by connect, closed by run

	mu   sync.Mutex // guards what follows
	now  *history   // nil while no stream could be opened
	fail error      // why
	cut  string     // why nothing is added to now at the moment, or ""
}

func newFeed(c *daemon.Client, fields taskwatch.Fields, size int) *feed {
	query := url.Values{"events": {strings.Join(append(strings.Split(shown.String(), ","), taskwatch.FailedExecName), ",")}}
	if names := fields.Names(); len(names) > 0 {
		query.Set("fields", strings.Join(names, ","))
	}
	return &feed{client: c, query: query, size: size, fail: errors.New("the daemon has not answered yet")}
}

// What pages say.
const (
	cutOff = "the daemon has ended the stream; what it sees from then on is shown when it answers again"
	anew   = "the daemon was started again, or did not answer for too long"
)

// connect opens the stream.
func (f *feed) connect(ctx context.Context) error {
	lines, err := f.client.Follow(ctx, f.query, daemon.FollowConfig{
		Patience: math.MaxInt64, // as long as this process runs
		OnCut:    func() { f.state(cutOff) },
		OnResume: func(bool) { f.state("") },
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines, f.fail, f.now, f.cut = lines, err, nil, ""
	if err == nil {
		f.now = newHistory(f.size)
	}
	return err
}

func (f *feed) state(cut string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = cut
}

// why returns why nothing is added at the moment, or "".
func (f *feed) why() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut
}

// retry is the time between attempts to open a stream that the daemon rejects.
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
	for first := true; ; first = false {
		lines, begins, err := f.lines.Next()
		if err != nil {
			return err
		}
		if begins && !first {
			f.mu.Lock()
			old := f.now
			f.now = newHistory(f.size)
			f.mu.Unlock()
			old.end(errors.New(anew))
		}
		f.now.add(slices.Clone(lines))
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
