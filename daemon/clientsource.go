package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
	cel "github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/replay"
)

// SourceName is the name of [ClientSource].
const SourceName = "daemon"

// ClientSource is the source of what a daemon sees: its stream of events. It
// needs no privileges but those to read from the daemon's socket. Events carry
// the name of the daemon's source. When the connection is cut, or the daemon is
// started again, it goes on where it was; what the daemon no longer has is a
// loss in its place. It implements [source.Source].
type ClientSource struct {
	client *Client
	cfg    ClientSourceConfig
	caps   source.Capabilities
}

var _ source.Source = (*ClientSource)(nil)

// ClientSourceConfig says what of a daemon's stream is delivered. The zero value
// is ready.
type ClientSourceConfig struct {
	PID      int           // whose tree is meant; 0 is all tasks that the daemon sees
	Patience time.Duration // how long a connection that was cut is tried again; 0 stands for DefaultPatience

	OnReady  func()       // called once all events come; may be nil
	OnNotice func(string) // called with what a user should know; may be nil
}

// DefaultPatience is the usual [ClientSourceConfig.Patience].
const DefaultPatience = 30 * time.Second

// Source returns a source of the client's daemon. The client stays the caller's.
func (c *Client) Source(ctx context.Context, cfg ClientSourceConfig) (*ClientSource, error) {
	if cfg.Patience == 0 {
		cfg.Patience = DefaultPatience
	}
	s := &ClientSource{client: c, cfg: cfg}
	var err error
	if s.caps, err = c.capabilities(ctx, s.chosen(url.Values{"events": {"exit"}})); err != nil {
		return nil, err
	}
	if cfg.PID != 0 {
		s.caps.Scope = fmt.Sprintf("process %d and its descendants", cfg.PID)
	}
	return s, nil
}

// capabilities returns what the daemon's source delivers, as a stream says that
// begins and is given up.
func (c *Client) capabilities(ctx context.Context, query url.Values) (caps source.Capabilities, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b, err := c.begin(ctx, query)
	if err != nil {
		return caps, err
	}
	defer b.Close()
	caps.Scope = b.start.Scope
	for k, e := range b.start.Events {
		caps.Events[k] = source.Capability{Delivered: e.Delivered, Missing: e.Missing, MayMiss: e.MayMiss, Hook: e.Hook, Why: e.Why}
	}
	return caps, nil
}

// Lines returns the daemon's stream of events, as the lines of a recording that
// does not end: the answer to 'GET /events' with a query. The caller closes it.
// When ctx ends, it fails.
func (c *Client) Lines(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://daemon/events?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, c.Explain(err)
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, maxBody))
		_ = res.Body.Close()
		err := fmt.Errorf("the daemon at %s: %s", c.socket, strings.TrimSpace(string(text)))
		if res.StatusCode < http.StatusInternalServerError && res.StatusCode != http.StatusTooManyRequests {
			err = &rejection{err}
		}
		return nil, err
	}
	return res.Body, nil
}

// body is the answer to a request for events, behind its first line.
type body struct {
	*bufio.Reader
	io.Closer
	line  []byte // the first
	start *taskwatch.Start
	at    after // of the first line
}

// rejection is what a daemon says that does not take a request.
type rejection struct{ error }

// begin begins a stream, and reads its start. An error that is no *rejection may
// pass.
func (c *Client) begin(ctx context.Context, query url.Values) (*body, error) {
	lines, err := c.Lines(ctx, query)
	if err != nil {
		return nil, err
	}
	b := &body{Reader: bufio.NewReaderSize(lines, 64<<10), Closer: lines}
	if b.line, err = b.ReadBytes('\n'); err == nil {
		err = b.begin()
	}
	if err != nil {
		_ = lines.Close()
		return nil, fmt.Errorf("the daemon at %s: %w", c.socket, err)
	}
	return b, nil
}

// lines returns the whole lines that are there, and waits for one. They are valid
// until the next call.
func (b *body) lines() ([]byte, error) {
	if _, err := b.Peek(1); err != nil {
		return nil, err
	}
	there, _ := b.Peek(b.Buffered())
	if n := bytes.LastIndexByte(there, '\n') + 1; n > 0 {
		_, _ = b.Discard(n) // which is there
		return there[:n], nil
	}
	return b.ReadBytes('\n')
}

// begin reads the first line.
func (b *body) begin() error {
	it, err := record.Decode(b.line)
	if err != nil {
		return err
	}
	if b.start = it.Start; b.start == nil {
		return errors.New("its stream has no start")
	}
	var names struct {
		Instance string `json:"instance"`
	}
	if err := json.NewDecoder(bytes.NewReader(b.line)).Decode(&names); err != nil {
		return err
	}
	b.at.instance = names.Instance
	b.at.pos, _ = record.Position(b.line)
	return nil
}

// Name returns SourceName.
func (s *ClientSource) Name() string { return SourceName }

// Capabilities returns what the daemon's source delivers. Nothing can be vetoed.
func (s *ClientSource) Capabilities() source.Capabilities { return s.caps }

// Close does nothing: the client stays the caller's.
func (s *ClientSource) Close() error { return nil }

// Run delivers what the daemon sees of what is watched when it is called, until
// ctx ends. It fails when the daemon has not answered for as long as Patience
// says.
func (s *ClientSource) Run(ctx context.Context, reg *taskwatch.Registry) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	query := s.query(reg.Feed(), 0)
	if where := cel.Expression(reg.Feed().Only()); where != "" {
		query.Set("where", where)
	}
	lines, err := s.client.Follow(ctx, query, FollowConfig{
		Patience: s.cfg.Patience,
		OnCut: func() {
			s.notice("the daemon at %s has ended the stream; trying to go on for %v", s.client.socket, s.cfg.Patience)
		},
		OnResume: func(anew bool) {
			if anew {
				s.notice("the daemon's stream begins anew: it was started again, or has waited too long")
			} else {
				s.notice("the daemon's stream goes on where it was")
			}
		},
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer lines.Close()
	_, _, _ = lines.Next() // the start, which is there; what comes is delivered as this source's
	if s.cfg.OnReady != nil {
		s.cfg.OnReady()
	}
	src, err := replay.New(replay.Config{Reader: lines, Name: s.client.socket})
	if err != nil {
		return err
	}
	err = src.Run(ctx, reg)
	switch {
	case ctx.Err() != nil:
		return nil
	case lines.Err() != nil:
		return lines.Err()
	}
	return err
}

func (s *ClientSource) notice(format string, args ...any) {
	if s.cfg.OnNotice != nil {
		s.cfg.OnNotice(fmt.Sprintf(format, args...))
	}
}

// query returns what is asked for by what is watched, and those kinds.
func (s *ClientSource) query(feed *taskwatch.Feed, too taskwatch.Kinds) url.Values {
	query := url.Values{}
	var events []string
	var optional taskwatch.Fields
	for _, k := range (feed.Kinds() | too).List() {
		events = append(events, k.String())
		optional |= feed.Optional(k)
	}
	if feed.FailedExecs() {
		events = append(events, taskwatch.FailedExecName)
	}
	if len(events) == 0 {
		events = []string{taskwatch.Exit.String()} // losses and failures come with it
	}
	if fields := optional.Names(); len(fields) > 0 {
		query.Set("fields", strings.Join(fields, ","))
	}
	query.Set("events", strings.Join(events, ","))
	return s.chosen(query)
}

// chosen adds whose tree is meant to a query.
func (s *ClientSource) chosen(query url.Values) url.Values {
	if s.cfg.PID != 0 {
		query.Set("pid", fmt.Sprint(s.cfg.PID))
		query.Set("tree", "true")
	}
	return query
}
