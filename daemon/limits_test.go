package daemon

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
)

// http2 returns a client that speaks HTTP/2 with the daemon, on one
// connection.
func (r *running) http2(t testing.TB) *http.Client {
	t.Helper()
	transport := r.Client.transport.Clone()
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetUnencryptedHTTP2(true)
	transport.DisableCompression = true
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Small requests that unpack to much are rejected before they are unpacked, in
// the words of each protocol, and many of them take no memory.
func TestCompressedRequests(t *testing.T) {
	testutil.Require(t, needsConnector)
	r := start(t, Config{Source: "connector"})
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.Copy(z, io.LimitReader(zeros{}, 40<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ contentType, header, procedure string }{
		{"application/json", "Content-Encoding", api.DaemonListProcedure},
		{"application/proto", "Content-Encoding", api.DaemonLoadProcedure},
		{"application/connect+json", "Connect-Content-Encoding", api.DaemonEventsProcedure},
		{"application/grpc", "Grpc-Encoding", api.DaemonListProcedure},
		{"application/grpc-web", "Grpc-Encoding", api.DaemonListProcedure},
	} {
		client := r.http2(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var all sync.WaitGroup
		var rejected atomic.Int32
		n := testutil.Size(25, 25, 250)
		for range n {
			all.Go(func() {
				body := bomb.Bytes()
				if strings.HasPrefix(c.contentType, "application/connect+") || strings.HasPrefix(c.contentType, "application/grpc") {
					body = append([]byte{1, byte(len(body) >> 24), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
				}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://daemon"+c.procedure, bytes.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Content-Type", c.contentType)
				req.Header.Set(c.header, "gzip")
				res, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer res.Body.Close()
				b, err := io.ReadAll(res.Body)
				text := string(b) + res.Header.Get("Grpc-Message") + res.Trailer.Get("Grpc-Message")
				if err == nil && strings.Contains(text, "compressed requests") {
					rejected.Add(1)
				} else {
					t.Errorf("%s: %v, %v, %.200q", c.contentType, err, res.Status, text)
				}
			})
		}
		all.Wait()
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > uint64(n)*4<<20 {
			t.Errorf("%s: %d requests took %d MiB in all", c.contentType, n, got>>20)
		}
		if int(rejected.Load()) != n {
			t.Errorf("%s: %d of %d requests were rejected", c.contentType, rejected.Load(), n)
		}
	}
	// By a GET, the parameter of the query says it.
	res, err := r.http2(t).Get("http://daemon" + api.DaemonListProcedure + "?encoding=json&compression=gzip&base64=1&message=H4sIAAAAAAAA_6uuBQBDv6ajAgAAAA")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode < 400 {
		t.Errorf("a compressed GET: %s", res.Status)
	}
}

// Requests wait for those of their user, and for those of others where these
// only read; one that is larger than all goes alone.
func TestBudget(t *testing.T) {
	b := &budget{user: usage{3, 100}, readers: usage{4, 150}, patience: 10 * time.Millisecond}
	enter := func(uid uint32, reader bool, bytes int64) func() {
		leave, err := b.enter(t.Context(), uid, reader, usage{1, bytes})
		if err != nil {
			return nil
		}
		return leave
	}
	large := enter(1, true, 1000)
	if large == nil {
		t.Fatal("what is larger than all may not go alone")
	}
	if enter(1, true, 1) != nil {
		t.Error("something went beside what takes all")
	}
	if enter(2, true, 1) != nil {
		t.Error("a reader went beside one that takes all")
	}
	root := enter(0, false, 90)
	if root == nil {
		t.Fatal("root waits for readers")
	}
	if enter(0, false, 11) != nil {
		t.Error("root took 101 of 100 bytes")
	}
	waits := make(chan func())
	b.patience = patient
	go func() { waits <- enter(1, true, 60) }()
	large()
	large() // twice is once
	one := <-waits
	b.patience = 10 * time.Millisecond
	two := enter(2, true, 60)
	if one == nil || two == nil {
		t.Fatal("there was room")
	}
	if enter(3, true, 60) != nil {
		t.Error("readers took 180 of 150 bytes")
	}
	for _, leave := range []func(){one, two, root} {
		leave()
	}
	if len(b.users) != 0 || b.all != (usage{}) {
		t.Errorf("left: %v, %v", b.users, b.all)
	}
}

// Where a user's connections are used up, root can still list and unload.
func TestConnectionsKeptForRoot(t *testing.T) {
	testutil.Root(t)
	testutil.Require(t, needsConnector)
	few := defaultLimits
	few.conns, few.kept = 4, 2
	r := startLimited(t, Config{Source: "connector"}, few)
	r.load(t, "count", wasmFile(t, execCounter))
	r.Client.Close()
	var streams []*connect.ServerStreamForClient[api.EventsResponse]
	for range few.conns {
		// The daemon may not have seen yet that the client of before has gone.
		eventually(t, "a stream has its place", func() bool {
			c := NewClient(r.socket)
			s, err := c.Events(t.Context(), connect.NewRequest(&api.EventsRequest{Events: []string{"exec"}}))
			if err != nil {
				t.Fatal(err)
			}
			if !s.Receive() {
				wantCode(t, s.Err(), connect.CodeResourceExhausted, "only Unload, List and Status are answered")
				s.Close()
				c.Close()
				return false
			}
			streams = append(streams, s)
			return true
		})
	}
	_, err := r.Client.Globals(t.Context(), connect.NewRequest(&api.GlobalsRequest{Name: "count"}))
	wantCode(t, err, connect.CodeResourceExhausted, "only Unload, List and Status are answered")
	if _, err := r.Client.Status(t.Context(), connect.NewRequest(&api.StatusRequest{})); err != nil {
		t.Error(err)
	}
	if list := r.modules(t); len(list) != 1 {
		t.Errorf("modules %v, want one", list)
	}
	r.unload(t, "count")
	for _, s := range streams {
		s.Close()
	}
	r.Client.Close()
	eventually(t, "there is room again", func() bool {
		_, err := r.Client.Info(t.Context(), connect.NewRequest(&api.InfoRequest{Name: "count"}))
		r.Client.Close()
		return connect.CodeOf(err) == connect.CodeNotFound
	})
}

// A listener without descriptors says so once, and goes on.
func TestNoDescriptors(t *testing.T) {
	log := new(testutil.Log)
	l := &conns{log: slog.New(slog.NewTextHandler(log, nil)), Listener: &scripted{errs: []error{
		&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.EMFILE)},
		&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.EMFILE)},
		net.ErrClosed,
	}}}
	for range 3 {
		if c, err := l.Accept(); err == nil {
			t.Fatal("accepted", c)
		}
	}
	text := log.String()
	if strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "LimitNOFILE=") || strings.Count(text, "accepted again") != 1 {
		t.Errorf("the log says:\n%s", text)
	}
}

// scripted is a listener that fails as it is told.
type scripted struct {
	net.Listener
	errs []error
}

func (s *scripted) Accept() (net.Conn, error) {
	err := s.errs[0]
	s.errs = s.errs[1:]
	return nil, err
}

// What is no file holds up nothing: neither the start nor a reload nor the end.
func TestModuleThatIsNoFile(t *testing.T) {
	testutil.Require(t, needsConnector)
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo.wasm")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	list := []ModuleConfig{{File: fifo}, {Name: "zero", File: "/dev/zero"}, {Name: "dir", File: dir}}
	r := start(t, Config{Source: "connector", Modules: list})
	if err := r.Reload(t.Context(), list); err == nil {
		t.Error("the reload has loaded a FIFO")
	}
	if got := strings.Count(r.log.String(), "is not a regular file"); got < 2*len(list) {
		t.Errorf("the log says of %d of %d that they are no files", got, 2*len(list))
	}
	r.stop(t)
}

// A directory that a boot would take away is made; any other is a slip. What is
// in the socket's place when its mode is set is not changed.
func TestSocketDirectory(t *testing.T) {
	dir := openDir(t)
	if _, err := listen(filepath.Join(dir, "nosuch", "x.sock"), nil); err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Errorf("a directory that is not there: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	t.Setenv("XDG_RUNTIME_DIR", dir)
	s, err := listen(filepath.Join(dir, "taskwatch", "x.sock"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}

	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, put := range []func(path string) error{
		func(path string) error { return os.Symlink(precious, path) },
		func(path string) error { return os.Link(precious, path) },
	} {
		s, err := listen(filepath.Join(dir, "s"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(s.path); err != nil {
			t.Fatal(err)
		}
		if err := put(s.path); err != nil {
			t.Fatal(err)
		}
		if err := s.open(&group{"other", uint32(os.Getegid())}); err == nil || !strings.Contains(err.Error(), "another file") {
			t.Errorf("another file was opened to the group: %v", err)
		}
		if st, err := os.Stat(precious); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("its mode is %v, %v", st.Mode(), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// stubborn is a module that behaves as it is told.
type stubborn struct {
	host.Module
	unregisters, closes error
	registered          atomic.Bool
	variables           []module.Global
}

func (m *stubborn) Start() error { m.registered.Store(true); return nil }
func (m *stubborn) Stop() error {
	if m.unregisters == nil {
		m.registered.Store(false)
	}
	return m.unregisters
}
func (m *stubborn) Close() error                                     { return m.closes }
func (m *stubborn) Info() host.Info                                  { return host.Info{Name: "count", Kind: host.Sandbox} }
func (m *stubborn) Stats() (host.Stats, error)                       { return host.Stats{}, nil }
func (m *stubborn) Globals(context.Context) ([]module.Global, error) { return m.variables, nil }

// slow takes its time for an answer.
type slow struct {
	stubborn
	time time.Duration
}

func (m *slow) Globals(context.Context) ([]module.Global, error) {
	time.Sleep(m.time)
	return nil, nil
}

// A call that takes longer than a client may take for its request is answered.
func TestSlowCallIsAnswered(t *testing.T) {
	testutil.Require(t, needsConnector)
	t.Parallel()
	short := defaultLimits
	short.body = time.Second
	r := startLimited(t, Config{Source: "connector"}, short)
	m := &slow{time: 2 * short.body}
	m.registered.Store(true)
	e := newListing(&spec{name: "slow"})
	if err := r.Daemon.modules.begin(e); err != nil {
		t.Fatal(err)
	}
	r.Daemon.modules.loaded(e, m, "")
	if _, err := r.Client.Globals(t.Context(), connect.NewRequest(&api.GlobalsRequest{Name: "slow"})); err != nil {
		t.Error(err)
	}
}

// A reload that meets a module which is busy does not cost it: it waits for one
// that comes or goes, and replaces one that cannot be freed at once.
func TestReloadMeetsBusyModule(t *testing.T) {
	testutil.Require(t, needsConnector)
	file := filepath.Join(t.TempDir(), "count.wasm")
	if err := os.WriteFile(file, wasmFile(t, execCounter), 0o600); err != nil {
		t.Fatal(err)
	}
	list := []ModuleConfig{{File: file, Params: map[string]string{"uid": "1"}}}
	r := start(t, Config{Source: "connector"})
	put := func(m *stubborn) *listing {
		m.registered.Store(true)
		e := newListing(&spec{name: "count", origin: fromConfig})
		if err := r.Daemon.modules.begin(e); err != nil {
			t.Fatal(err)
		}
		r.Daemon.modules.loaded(e, m, "")
		return e
	}
	kind := func() host.Module {
		v, err := r.Daemon.modules.view("count")
		if err != nil {
			t.Fatal(err)
		}
		return v.module
	}
	isNew := func() bool { _, old := kind().(*stubborn); return !old }

	put(&stubborn{closes: errors.New("a call of it goes on")})
	if err := r.Reload(t.Context(), list); err != nil || !isNew() {
		t.Errorf("one that cannot be freed yet: %v, new %v", err, isNew())
	}
	if !strings.Contains(r.log.String(), "a call of it goes on") {
		t.Error("the log does not say what goes on")
	}
	r.unload(t, "count")

	stays := &stubborn{unregisters: errors.New("no memory")}
	put(stays)
	if err := r.Reload(t.Context(), list); err == nil || kind() != host.Module(stays) || !stays.registered.Load() {
		t.Errorf("one that cannot be unregistered: %v, it runs: %v", err, stays.registered.Load())
	}
	stays.unregisters = nil

	// Somebody is about to unload it, which fails; then it is replaced.
	e, err := r.Daemon.modules.take("count")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- r.Reload(t.Context(), list) }()
	select {
	case err := <-done:
		t.Fatalf("the reload did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	r.Daemon.modules.unloaded(e, errors.New("it has changed its mind"))
	if err := <-done; err != nil || !isNew() {
		t.Errorf("one that was just being unloaded: %v, new %v", err, isNew())
	}
	r.unload(t, "count")

	// What does not run any more, and could not be started again, can be unloaded.
	put(&stubborn{unregisters: taskwatch.ErrNotRegistered})
	r.unload(t, "count")
	if list := r.registry.Modules(); len(list) != 0 {
		t.Errorf("the registry has %+v", list)
	}
}

// Variables that would take too much are not read, which costs nothing else of
// the module.
func TestLargeVariables(t *testing.T) {
	testutil.Root(t)
	file := filepath.Join(t.TempDir(), "large.c")
	if err := os.WriteFile(file, []byte(largeModule), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, Config{Source: "bpf"})
	r.load(t, "large", kernelFile(t, file), "uid=7")
	_, err := r.Client.Globals(t.Context(), connect.NewRequest(&api.GlobalsRequest{Name: "large"}))
	wantCode(t, err, connect.CodeResourceExhausted, "320004 bytes", "262144", "into a map")
	info, err := r.Client.Info(t.Context(), connect.NewRequest(&api.InfoRequest{Name: "large"}))
	if err != nil || len(info.Msg.Params) != 1 || info.Msg.Params[0].Value != "null" {
		t.Errorf("info: %v, %v", info, err)
	}
	r.unload(t, "large")
}

const largeModule = `#include "task_watchers.h"

module_param(uid, int, -1);
__u64 large[40000];

static int count(unsigned long val, struct task_struct *tsk)
{
	__sync_fetch_and_add(&large[0], 1);
	return 0;
}
task_watcher_func(exec, count);

MODULE_LICENSE("GPL");
`
