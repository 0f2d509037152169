package daemon

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/source"
)

// script is a source whose events are the test's.
type script struct {
	ready  func()
	events chan *taskwatch.Event
	items  chan taskwatch.Item // others
	closed bool
}

func (*script) Name() string { return "script" }

func (*script) Capabilities() source.Capabilities { return source.Capabilities{Scope: "a test"} }

func (s *script) Close() error {
	s.closed = true
	return nil
}

func (s *script) Run(ctx context.Context, reg *taskwatch.Registry) error {
	s.ready()
	for {
		select {
		case ev := <-s.events:
			_ = reg.Feed().Notify(ev)
		case it := <-s.items:
			reg.Feed().Deliver(it)
		case <-ctx.Done():
			return nil
		}
	}
}

// open returns a Config.Open that returns the source.
func (s *script) open(passed error) func(func(), func(*source.Shortage)) (source.Source, error, error) {
	return func(ready func(), _ func(*source.Shortage)) (source.Source, error, error) {
		s.ready = ready
		return s, passed, nil
	}
}

// A daemon tells of the events of any source, and says why it takes no modules
// for the kernel.
func TestAnySource(t *testing.T) {
	src := &script{events: make(chan *taskwatch.Event)}
	r := start(t, Config{Open: src.open(errors.New("it is a test"))})
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	status, err := r.Client.Status(ctx, connect.NewRequest(&api.StatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if m := status.Msg; m.Source != "script" || m.Scope != "a test" || !strings.Contains(m.NoKernelModules, "it is a test") {
		t.Errorf("the status is %v, want the source and why there are no kernel modules", m)
	}
	stream, err := r.Client.Events(ctx, connect.NewRequest(&api.EventsRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if !stream.Receive() { // the first message says that what follows is complete
		t.Fatal(stream.Err())
	}
	src.events <- &taskwatch.Event{Kind: taskwatch.Exit, Seq: 41, Task: &taskwatch.Task{PID: 5, TID: 5, Comm: "scripted"}}
	for stream.Receive() {
		if lines := string(stream.Msg().Lines); lines != "" {
			if !strings.Contains(lines, `"scripted"`) {
				t.Errorf("the stream has %s, want the event", lines)
			}
			return
		}
	}
	t.Fatal("the stream ended without the event: ", stream.Err())
}

// A source that does not open, and one that is not run, leave nothing behind.
func TestSourceOfADaemonThatDoesNotRun(t *testing.T) {
	src := &script{}
	d, err := New(Config{Socket: filepath.Join(openDir(t), "taskwatch.sock"), Open: src.open(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil || !src.closed {
		t.Errorf("Close returned %v, and the source was closed: %t", err, src.closed)
	}
	broken := errors.New("broken")
	_, err = New(Config{Socket: filepath.Join(openDir(t), "taskwatch.sock"), Open: func(func(), func(*source.Shortage)) (source.Source, error, error) {
		return (*script)(nil), nil, broken
	}})
	if !errors.Is(err, broken) {
		t.Errorf("a source that does not open: %v, want %v", err, broken)
	}
}
