package ui

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/testutil"
	stock "github.com/taskwatch/taskwatch/modules"
	"github.com/taskwatch/taskwatch/source"
)

// script is a source whose events are the test's.
type script struct {
	ready  func()
	events chan *taskwatch.Event
}

func (*script) Name() string { return "script" }

func (*script) Capabilities() source.Capabilities { return source.Capabilities{Scope: "a test"} }

func (*script) Close() error { return nil }

func (s *script) Run(ctx context.Context, reg *taskwatch.Registry) error {
	s.ready()
	for {
		select {
		case ev := <-s.events:
			_ = reg.Feed().Notify(ev) // nothing is denied
		case <-ctx.Done():
			return nil
		}
	}
}

// startDaemon runs a daemon at a socket, and returns what ends it.
func startDaemon(t *testing.T, socket string) (events chan<- *taskwatch.Event, stop func()) {
	t.Helper()
	src := &script{events: make(chan *taskwatch.Event)}
	ready := make(chan struct{})
	d, err := daemon.New(daemon.Config{
		Socket: socket, OnReady: func() { close(ready) },
		Open: func(ready func(), _ func(*source.Shortage)) (source.Source, error, error) {
			src.ready = ready
			return src, errors.New("it is a test"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	stopped := false
	stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(stop)
	select {
	case <-ready:
	case <-time.After(patient):
		t.Fatal("the daemon is not ready")
	}
	return src.events, stop
}

// follow reads the lines of a live timeline; the function waits for one.
func (s *site) follow(t *testing.T, where string) (until func(part string) string) {
	t.Helper()
	res := s.request(t, http.MethodGet, "/api/lines?where="+where, "", nil)
	if res.StatusCode != http.StatusOK {
		t.Fatal(read(t, res).text)
	}
	in := bufio.NewReader(res.Body)
	return func(part string) string {
		t.Helper()
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("no line with %q comes: %v", part, err)
			}
			if strings.Contains(line, part) {
				return line
			}
		}
	}
}

// serveDaemon is serve for a daemon, with what reads its stream.
func serveDaemon(t *testing.T, socket string) *site {
	t.Helper()
	client := daemon.NewClient(socket)
	s := serve(t, Config{Daemon: client}, defaultLimits)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	if err := s.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(ended)
		s.feed.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		client.Close()
	})
	return s
}

// What a daemon sees is shown, to each page from what is known on, and goes on
// with the next daemon.
func TestDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if err := (&Server{feed: newFeed(daemon.NewClient(socket), 0, 1)}).Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "start one with 'taskwatch serve'") {
		t.Errorf("without a daemon: %v", err)
	}
	events, stop := startDaemon(t, socket)
	s := serveDaemon(t, socket)
	until := s.follow(t, "")
	events <- event(taskwatch.Exec, 1, 7, 1, "first")
	until("/bin/first")
	until("A ") // and time goes on
	events <- event(taskwatch.Exec, 2, 8, 7, "second")
	until("/bin/second")
	until = s.follow(t, `comm=="second"`)
	until("/bin/first")
	if line := until("M "); line != "M 1\n" {
		t.Errorf("the second process is marked by %q", line)
	}
	if r := s.get(t, `/api/filter?where=caps.effective>0`, nil); !strings.Contains(r.text, "start 'taskwatch ui --fields caps") {
		t.Errorf("a field that was not asked for: %s", r.text)
	}
	stop()
	if line := until("W\t"); !strings.Contains(line, "has ended the stream") {
		t.Errorf("the end of the daemon is shown as %q", line)
	}
	events, _ = startDaemon(t, socket)
	if line := until("Z\t"); !strings.Contains(line, "was started again") {
		t.Errorf("the next daemon is shown as %q", line)
	}
	until = s.follow(t, "")
	events <- event(taskwatch.Exec, 1, 9, 1, "third")
	until(`"name":"items were lost"`) // by nobody knows how many
	if line := until("/bin/"); !strings.Contains(line, "third") {
		t.Errorf("after the next start there is still %q", line)
	}
}

// A page goes on when the connection to the daemon was cut: nothing is missing,
// or what is lost is shown, as is that nothing comes meanwhile.
func TestCutConnection(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	events, _ := startDaemon(t, socket)
	line := testutil.NewLine(t, socket)
	s := serveDaemon(t, line.Path)
	until := s.follow(t, "")
	events <- event(taskwatch.Exec, 1, 7, 1, "before")
	until("/bin/before")
	line.SetDown(true)
	until("W\t\"the daemon has ended the stream")
	events <- event(taskwatch.Exec, 2, 8, 1, "meanwhile")
	line.SetDown(false)
	rest := s.follow(t, "") // another page, which knows as much
	rest("/bin/before")
	rest("/bin/meanwhile")
	if text := until("/bin/meanwhile"); strings.Contains(text, "lost") {
		t.Errorf("nothing is lost, and the page gets %q", text)
	}
	until("W\t\"\"")

	line.SetDown(true)
	until("W\t\"the daemon")
	const many = 24 // MiB, of which the daemon keeps 16
	for n := range many {
		ev := event(taskwatch.Exec, 3+n, 10+n, 1, "large")
		ev.Task.Argv = []string{strings.Repeat("x", 1<<20)}
		events <- ev
	}
	line.SetDown(false)
	text := until("items were lost")
	var lost int
	if _, err := fmt.Sscanf(text[strings.Index(text, `"name":`):], `"name":"%d items were lost`, &lost); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for n := lost; n < many; n++ {
		until("xxx")
	}
	if lost < many-17 || lost >= many {
		t.Errorf("%d of %d items are lost", lost, many)
	}
}

// The processes that live are shown with those that the daemon has never heard of;
// an expression chooses among them.
func TestProcesses(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	startDaemon(t, socket)
	s := serveDaemon(t, socket)
	held, _ := testutil.Hold(t, exec.Command("sh", "-c", "echo up; read x", "held", strings.Repeat("long", 1000)))
	pid := held.Process.Pid
	list := func(where string) map[int]living {
		t.Helper()
		r := s.get(t, "/api/processes?where="+where, nil)
		var got struct{ Processes []living }
		if err := json.Unmarshal([]byte(r.text), &got); err != nil {
			t.Fatalf("%s: %v", r.text, err)
		}
		byPID := map[int]living{}
		for _, p := range got.Processes {
			byPID[p.PID] = p
		}
		return byPID
	}
	all := list(fmt.Sprintf(`pid==%d`, pid))
	for p, l := range all {
		if l.Chosen != (p == pid) {
			t.Errorf("pid %d is chosen: %v", p, l.Chosen)
		}
	}
	if l := all[pid]; l.PPID != os.Getpid() || fmt.Sprint(l.Argv) != "[sh -c echo up; read x held]" || !l.Cut || l.UID == nil || int(*l.UID) != os.Getuid() || l.RunsUS > patient.Microseconds() {
		t.Errorf("a shell is shown as %+v", l)
	}
	if me := all[os.Getpid()]; me.RunsUS < all[pid].RunsUS {
		t.Errorf("the test runs for %d µs, and what it has started for %d", me.RunsUS, all[pid].RunsUS)
	}
	if l := list("")[pid]; !l.Chosen {
		t.Error("without an expression, not all are chosen")
	}
	if r := s.get(t, "/api/processes?where=pidd", nil); r.StatusCode != http.StatusBadRequest {
		t.Errorf("a mistake: %s", r.Status)
	}
	_ = held.Process.Kill()
	_ = held.Wait() // it was killed
	if l, ok := list("")[pid]; ok {
		t.Errorf("it has ended, and is shown as %+v", l)
	}
	file := serve(t, Config{File: recordingOf(t, end()...)}, defaultLimits)
	if r := file.get(t, "/api/processes", nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("of a recording: %s", r.Status)
	}
}

// Modules are loaded, described and unloaded by the daemon, with the rights of
// this process; requests of other pages get nowhere.
func TestModules(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	_, stop := startDaemon(t, socket)
	s := serveDaemon(t, socket)
	call := func(procedure, body string, change func(*http.Request)) *answered {
		t.Helper()
		return read(t, s.request(t, http.MethodPost, "/api/daemon/"+procedure, body, change))
	}
	var status struct{ MayLoad bool }
	if r := call("Status", "{}", nil); json.Unmarshal([]byte(r.text), &status) != nil || !status.MayLoad {
		t.Errorf("Status: %s", r.text)
	}
	file := s.get(t, "/api/stock/execrule", nil)
	if file.text != string(stock.Find("execrule").Object()) {
		t.Errorf("the stock module: %s, %d bytes", file.Status, len(file.text))
	}
	load := fmt.Sprintf(`{"name":"rule","file":%q,"params":{},"allowObserveOnly":true}`, base64.StdEncoding.EncodeToString([]byte(file.text)))
	origin := func(o string) func(*http.Request) {
		return func(r *http.Request) {
			if r.Header.Set("Origin", o); o == "" {
				r.Header.Del("Origin")
			}
		}
	}
	for _, o := range []string{"", "null", "http://evil.example", "http://127.0.0.1:1"} {
		if r := call("Load", load, origin(o)); r.StatusCode != http.StatusForbidden {
			t.Errorf("a load from origin %q: %s", o, r.Status)
		}
	}
	if r := call("List", "{}", nil); strings.Contains(r.text, "rule") {
		t.Fatalf("another page has loaded a module: %s", r.text)
	}
	if r := call("Load", load, nil); r.StatusCode != http.StatusOK {
		t.Fatalf("Load: %s", r.text)
	}
	for procedure, want := range map[string]string{"List": `"state":"live"`, "Info": `"description":`, "Stats": `"watchers":`} {
		r := call(procedure, `{"name":"rule"}`, nil)
		if procedure == "List" {
			r = call(procedure, "{}", nil)
		}
		if tight := strings.ReplaceAll(r.text, ": ", ":"); !strings.Contains(tight, want) {
			t.Errorf("%s: %s", procedure, r.text)
		}
	}
	if r := call("Load", load, nil); r.StatusCode != http.StatusConflict || !strings.Contains(r.text, "unload it first") {
		t.Errorf("a second load: %s: %s", r.Status, r.text)
	}
	if r := call("Unload", `{"name":"rule"}`, nil); r.StatusCode != http.StatusOK {
		t.Errorf("Unload: %s", r.text)
	}
	if r := call("Events", "{}", nil); r.StatusCode != http.StatusNotFound {
		t.Errorf("a procedure that pages do not need: %s", r.Status)
	}
	stop()
	if r := call("List", "{}", nil); r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(r.text, "start one with") {
		t.Errorf("without the daemon: %s: %s", r.Status, r.text)
	}
}

// A server ends with its context, streams and all.
func TestServeEnds(t *testing.T) {
	s, err := newServer(Config{File: recordingOf(t)}, defaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	at := &site{Server: s, url: "http://" + l.Addr().String()}
	at.cookie = at.get(t, strings.TrimPrefix(s.Link(l.Addr()), at.url), nil).Cookies()[0]
	at.follow(t, "")("P\n")
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patient):
		t.Fatal("the server does not end")
	}
}
