package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// shared is a daemon that the tests of all sources have in common: to start and
// to end one takes longer than most of them.
type shared struct {
	mu     sync.Mutex // one start at a time
	dir    string
	server *server
}

var sharedDaemon shared

// serving returns the socket of the daemon, which is started for the first test.
func (s *shared) serving(t *testing.T) (socket string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		dir, err := os.MkdirTemp("", "taskwatch-shared-")
		if err != nil {
			t.Fatal(err)
		}
		s.dir = dir
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		server := &server{socket: filepath.Join(dir, "s")}
		server.cmd = exec.Command(binary(t), "serve", "--socket", server.socket) // for longer than this test
		server.cmd.Stderr = &server.log
		if err := server.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.server = server
	}
	s.server.serves(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", s.server.log.String())
		}
	})
	return s.server.socket
}

// stop ends the daemon behind all tests.
func (s *shared) stop() (err error) {
	if s.server != nil {
		err = s.server.end()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}
