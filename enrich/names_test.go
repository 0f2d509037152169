package enrich

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers as Docker does, on a socket.
func serve(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: answer, ReadHeaderTimeout: time.Minute}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return socket
}

func known(t *testing.T, n *Names, id string) Container {
	t.Helper()
	for range 2000 {
		if c, ok := n.Of(id); ok {
			return c
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("nobody tells the name of %s", id)
	return Container{}
}

func TestNames(t *testing.T) {
	id := strings.Repeat("ab", 32)
	var asked, gone atomic.Int32
	socket := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/containers/"+id+"/json" || gone.Load() != 0 {
			http.Error(w, `{"message":"No such container"}`, http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Id": id, "Name": "/web", "Config": map[string]any{
			"Image": "nginx:1", "Labels": map[string]string{"a": "b"}}})
	})
	n := NewNames(newDocker(filepath.Join(t.TempDir(), "none.sock")), newDocker(socket))
	defer n.Close()
	if _, ok := n.Of(""); ok {
		t.Error("what is in no container has a name")
	}
	if _, ok := n.Of(id); ok {
		t.Error("the first answer was waited for")
	}
	if c := known(t, n, id); c.Name != "web" || c.Image != "nginx:1" || c.Labels["a"] != "b" {
		t.Errorf("told %+v", c)
	}
	gone.Store(1)
	before := asked.Load()
	for range 100 {
		if _, ok := n.Of(id); !ok {
			t.Fatal("a container that is gone is forgotten")
		}
	}
	if asked.Load() != before {
		t.Error("what is known is asked again")
	}
	other := strings.Repeat("cd", 32)
	for range 100 {
		n.Of(other)
	}
	time.Sleep(50 * time.Millisecond)
	if more := asked.Load() - before; more > 1 {
		t.Errorf("%d questions about a container that nobody knows, want one for now", more)
	}
}

// A runtime that hangs holds up nobody.
func TestNamesNeverWait(t *testing.T) {
	hang := make(chan struct{})
	n := NewNames(hanging(hang))
	for i := range 10 * maxWaiting {
		n.Of(strings.Repeat("0", 60) + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + "00")
	}
	n.Close() // and is not waited for
	close(hang)
}

type hanging chan struct{}

func (h hanging) Lookup(ctx context.Context, _ string) (Container, error) {
	select {
	case <-ctx.Done():
	case <-h:
	}
	return Container{}, errors.New("late")
}

func TestDockerThatAnswersOddly(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for _, body := range []string{"", "{", `{"Id":"other","Name":"/x"}`, `[]`} {
		socket := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		if c, err := newDocker(socket).Lookup(t.Context(), id); err == nil {
			t.Errorf("%q: %+v", body, c)
		}
	}
	// One without an end.
	socket := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write([]byte(strings.Repeat(" ", 1<<16))); err != nil {
				return
			}
		}
	})
	if c, err := newDocker(socket).Lookup(t.Context(), id); err == nil {
		t.Errorf("without an end: %+v", c)
	}
}
