package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// checkContainerStream checks that a stream of the daemon, chosen by the name of a
// container, has execs of that container, and no others.
func checkContainerStream(t *testing.T, s *server, name, program string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.socket)
	}}}
	defer client.CloseIdleConnections()
	query := url.Values{"events": {"exec"}, "where": {`container.name == "` + name + `"`}, "unknown": {"hide"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://daemon/events?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	execs := 0
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for execs < enough && lines.Scan() {
		var line struct {
			Event string
			Task  struct{ Exe string }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if line.Event != "exec" {
			continue
		}
		execs++
		if line.Task.Exe != program {
			t.Errorf("a stream of the container %s has an exec of %s, want %s alone", name, line.Task.Exe, program)
		}
	}
	if execs < enough {
		t.Errorf("a stream of the container %s has %d execs: %v", name, execs, lines.Err())
	}
}
