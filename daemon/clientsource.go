package daemon

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/replay"
)

// SourceName is the name of [ClientSource].
const SourceName = "daemon"

// ClientSource is the source of what a daemon sees: its stream of events. It
// needs no privileges but those to read from the daemon's socket. Events carry
// the name of the daemon's source. It implements [source.Source].
type ClientSource struct {
	client *Client
	pid    int // whose tree is meant; 0 is all
	ready  func()
	caps   source.Capabilities
}

var _ source.Source = (*ClientSource)(nil)

// Source returns a source of the client's daemon, of a process tree or, where pid
// is 0, of all tasks that the daemon sees. ready, if it is not nil, is called
// once all events come. The client stays the caller's.
func (c *Client) Source(ctx context.Context, pid int, ready func()) (*ClientSource, error) {
	s := &ClientSource{client: c, pid: pid, ready: ready}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, start, err := s.open(ctx, url.Values{"events": {"exit"}})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	s.caps.Scope = start.Scope
	if pid != 0 {
		s.caps.Scope = fmt.Sprintf("process %d and its descendants", pid)
	}
	for k, e := range start.Events {
		s.caps.Events[k] = source.Capability{Delivered: e.Delivered, Missing: e.Missing, MayMiss: e.MayMiss, Hook: e.Hook, Why: e.Why}
	}
	return s, nil
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
		return nil, fmt.Errorf("the daemon at %s: %s", c.socket, strings.TrimSpace(string(text)))
	}
	return res.Body, nil
}

// body is the answer to a request for events, behind its first line.
type body struct {
	*bufio.Reader
	io.Closer
}

// open begins a stream, and returns what follows its start.
func (s *ClientSource) open(ctx context.Context, query url.Values) (*body, *taskwatch.Start, error) {
	if s.pid != 0 {
		query.Set("pid", fmt.Sprint(s.pid))
		query.Set("tree", "true")
	}
	lines, err := s.client.Lines(ctx, query)
	if err != nil {
		return nil, nil, err
	}
	b := &body{bufio.NewReader(lines), lines}
	line, err := b.ReadBytes('\n')
	if err == nil {
		var it taskwatch.Item
		if it, err = record.NewReader(bytes.NewReader(line), s.client.socket).Next(); err == nil && it.Start != nil {
			return b, it.Start, nil
		}
	}
	_ = lines.Close()
	if err == nil {
		err = errors.New("its stream has no start")
	}
	return nil, nil, fmt.Errorf("the daemon at %s: %w", s.client.socket, err)
}

// Name returns SourceName.
func (s *ClientSource) Name() string { return SourceName }

// Capabilities returns what the daemon's source delivers. Nothing can be vetoed.
func (s *ClientSource) Capabilities() source.Capabilities { return s.caps }

// Close does nothing: the client stays the caller's.
func (s *ClientSource) Close() error { return nil }

// Run delivers what the daemon sees of what is watched when it is called, until
// ctx ends. It fails when the daemon ends.
func (s *ClientSource) Run(ctx context.Context, reg *taskwatch.Registry) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	feed, query := reg.Feed(), url.Values{}
	var events, fields []string
	var optional taskwatch.Fields
	for _, k := range feed.Kinds().List() {
		events = append(events, k.String())
		optional |= feed.Optional(k)
	}
	if feed.FailedExecs() {
		events = append(events, taskwatch.FailedExecName)
	}
	if len(events) == 0 {
		events = []string{taskwatch.Exit.String()} // losses and failures come with it
	}
	if fields = optional.Names(); len(fields) > 0 {
		query.Set("fields", strings.Join(fields, ","))
	}
	query.Set("events", strings.Join(events, ","))
	b, _, err := s.open(ctx, query)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer b.Close()
	if s.ready != nil {
		s.ready()
	}
	src, err := replay.New(replay.Config{Reader: b.Reader, Name: s.client.socket})
	if err != nil {
		return err
	}
	if err := src.Run(ctx, reg); ctx.Err() == nil {
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("the daemon at %s has ended the stream; start it, and watch again", s.client.socket)
		}
		return err
	}
	return nil
}
