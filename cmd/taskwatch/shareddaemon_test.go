package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// shared is a daemon that the tests of all sources have in common: to start and
// to end one takes longer than most of them.
//
// It watches these tests and what they start. Storms of another package's tests would
// overrun the streams of a daemon of the machine: it tells what is lost then, and
// the tests of all sources ask for every event.
type shared struct {
	mu     sync.Mutex // one start at a time
	dir    string
	socket string
	log    testutil.Log
	cancel context.CancelFunc // once it runs
	ended  chan error
}

var sharedDaemon shared

// serving returns the socket of the daemon, which is started for the first test.
func (s *shared) serving(t *testing.T) (socket string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel == nil {
		s.start(t)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", s.log.String())
		}
	})
	return s.socket
}

// start starts the daemon. Callers hold mu.
func (s *shared) start(t *testing.T) {
	t.Helper()
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "taskwatch-shared-")
		if err != nil {
			t.Fatal(err)
		}
		s.dir, s.socket = dir, filepath.Join(dir, "s")
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ready := make(chan struct{})
	d, err := daemon.New(daemon.Config{
		Socket: s.socket, Log: slog.New(slog.NewTextHandler(&s.log, nil)), ContainerNames: containerNames, OnReady: func() { close(ready) },
		Open: func(watches func(), short func(*source.Shortage)) (source.Source, error, error) {
			return auto.Open(auto.Name, auto.Config{Config: bpf.Config{PID: os.Getpid(), OnReady: watches, OnShortage: short}})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // for longer than this test
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	select {
	case <-ready:
		s.cancel, s.ended = cancel, ended
	case err := <-ended:
		cancel()
		t.Fatal(err)
	case <-time.After(patient):
		cancel()
		t.Fatalf("the daemon is not ready: %s", s.log.String())
	}
}

// stop ends the daemon behind all tests.
func (s *shared) stop() (err error) {
	if s.cancel != nil {
		s.cancel()
		err = <-s.ended
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
