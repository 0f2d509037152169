package daemon

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/process"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// testStream is a stream with a client that keeps what it is sent.
type testStream struct {
	*stream
	gate    sync.Mutex    // held while the client reads nothing
	at      chan struct{} // the client is at the gate
	mu      sync.Mutex    // guards the fields below
	lines   []byte
	dropped uint64
}

// newTestStream returns a stream with so many bytes of buffer.
func newTestStream(t testing.TB, buffer int, r *api.EventsRequest) *testStream {
	t.Helper()
	s, err := newStream(choiceOf(r))
	if err != nil {
		t.Fatal(err)
	}
	s.shared = new(renderings)
	ts := &testStream{stream: s, at: make(chan struct{}, 1)}
	s.open(buffer, new(copies), func(lines []byte, dropped uint64) error {
		select {
		case ts.at <- struct{}{}:
		default:
		}
		ts.gate.Lock()
		defer ts.gate.Unlock()
		ts.mu.Lock()
		defer ts.mu.Unlock()
		ts.lines, ts.dropped = append(ts.lines, lines...), dropped
		return nil
	})
	s.client.begin()
	t.Cleanup(func() { s.Close(context.Background()) })
	return ts
}

func (s *testStream) event(ev *taskwatch.Event) { s.Take(taskwatch.Item{Event: ev}) }

// take returns what was sent since it was called last.
func (s *testStream) take() (lines []byte, dropped uint64) {
	if err := s.queue.Sync(context.Background()); err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lines, s.lines = s.lines, nil
	return lines, s.queue.Dropped()
}

func task(pid, ppid int, uid uint32, comm, exe string) *taskwatch.Task {
	return &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: pid, TID: pid, PPID: ppid, UID: taskwatch.IDs{uid, 1, 1, 1}, Comm: comm, Exe: exe}
}

// Losses stand where they happened, with the number of the first event, and
// what was sent and what was lost add up.
func TestStreamLosses(t *testing.T) {
	const room = 10 << 10 // a dozen events
	s := newTestStream(t, room, &api.EventsRequest{})
	notify := func(seq uint64) {
		s.event(&taskwatch.Event{Kind: taskwatch.Exec, Seq: seq, Task: task(7, 1, 0, "a", "/a")})
	}
	var all strings.Builder
	seq := uint64(0)
	for range 3 {
		s.gate.Lock() // the client hangs
		select {
		case <-s.at: // since an earlier round
		default:
		}
		seq++
		notify(seq)
		<-s.at // from here on nothing is taken out
		for range 49 {
			seq++
			notify(seq)
		}
		s.Take(taskwatch.Item{Loss: &taskwatch.Loss{Count: 5, Seq: seq + 1}})
		s.Take(taskwatch.Item{Loss: &taskwatch.Loss{Seq: seq + 6}}) // nobody knows how many
		s.gate.Unlock()
		lines, dropped := s.take()
		if n := bytes.Count(lines, []byte(`"exec"`)); n > 25 {
			t.Errorf("%d events waited, and there is room for a dozen, twice", n)
		}
		all.Write(lines)
		var c collector
		if c.add(t, all.String(), 1); uint64(c.execs)+c.lost != seq+5*seq/50 || dropped != c.lost {
			t.Errorf("%d events and %d losses, counted %d; want %d events and 5 losses of the source a round", c.execs, c.lost, dropped, seq)
		}
		if !regexp.MustCompile(`\{"event":"lost","count":\d+,"seq":\d+\}\n\{"event":"lost","seq":\d+\}\n$`).Match(lines) {
			t.Errorf("the last lines are %s, want the losses, one of them of unknown size", lines[max(0, len(lines)-200):])
		}
	}
	if lines, _ := s.take(); len(lines) != 0 {
		t.Errorf("left: %s", lines)
	}
	notify(1000)
	if lines, _ := s.take(); !strings.Contains(string(lines), `"seq":1000`) {
		t.Errorf("behind the loss: %s", lines)
	}
}

func TestStreamFilter(t *testing.T) {
	known := task(10, 5, 1000, "make", "/usr/bin/make")
	for _, c := range []struct {
		name   string
		filter *api.Filter
		ev     taskwatch.Event
		want   bool
	}{
		{"nothing", nil, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, true},
		{"the pid", &api.Filter{Pid: 10}, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, true},
		{"another pid", &api.Filter{Pid: 5}, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, false},
		{"the parent of what has no pid", &api.Filter{Pid: 5}, taskwatch.Event{Kind: taskwatch.Init, Task: task(0, 5, 0, "", "")}, true},
		{"the uid", &api.Filter{Uid: []uint32{1, 1000}}, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, true},
		{"another uid", &api.Filter{Uid: []uint32{1}}, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, false},
		{"an unknown uid", &api.Filter{Uid: []uint32{0}}, taskwatch.Event{Kind: taskwatch.Exec, Task: task(1, 1, 0, "", ""), Missing: taskwatch.FieldUID}, false},
		{"the name", &api.Filter{Comm: "ma"}, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, true},
		{"another name", &api.Filter{Comm: "a"}, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, false},
		{"the program", &api.Filter{Exe: "/usr/"}, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, true},
		{"another program", &api.Filter{Exe: "/opt/"}, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, false},
		{"one of two", &api.Filter{Exe: "/usr/", Uid: []uint32{1}}, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, false},
	} {
		s := newTestStream(t, 1000, &api.EventsRequest{Filter: c.filter})
		s.event(&c.ev)
		if lines, _ := s.take(); (len(lines) > 0) != c.want {
			t.Errorf("%s: sent %q, want %v", c.name, lines, c.want)
		}
	}
}

// A tree grows by clones, also where nobody asked for those, and loses pids
// that somebody else gets.
func TestStreamTree(t *testing.T) {
	s := newTestStream(t, 10000, &api.EventsRequest{Events: []string{"exec"}, Filter: &api.Filter{Pid: 10, Tree: true}})
	if _, ok := s.Wants()[taskwatch.Clone]; !ok {
		t.Error("it does not see clones")
	}
	s.adopt([]process.Found{{PID: 11, PPID: 10}})
	owner := map[int]taskwatch.TaskID{} // of a pid
	fresh := uint64(100)
	pids := func(want ...int) {
		t.Helper()
		for pid := 10; pid < 20; pid++ {
			if _, ok := owner[pid]; !ok {
				continue // it was not born
			}
			tk := task(pid, 1, 0, "", "")
			tk.ID = owner[pid]
			s.event(&taskwatch.Event{Kind: taskwatch.Exec, Task: tk})
			lines, _ := s.take()
			is := false
			for _, p := range want {
				is = is || p == pid
			}
			if (len(lines) > 0) != is {
				t.Errorf("pid %d: sent %q, want %v", pid, lines, is)
			}
		}
	}
	clone := func(pid, tid, ppid int) {
		tk := task(pid, ppid, 0, "", "")
		fresh++
		tk.TID, tk.ID = tid, taskwatch.TaskID{Run: 1, N: fresh}
		if tid == pid {
			owner[pid] = tk.ID
		}
		s.event(&taskwatch.Event{Kind: taskwatch.Clone, Task: tk})
	}
	owner[10], owner[11] = taskwatch.TaskID{Run: 1, N: 10}, taskwatch.TaskID{Run: 1, N: 11}
	pids(10, 11)
	clone(12, 12, 11)
	clone(13, 13, 12)
	clone(14, 14, 1)
	clone(12, 99, 11) // a thread
	pids(10, 11, 12, 13)
	clone(12, 12, 1) // the pid again, somewhere else
	pids(10, 11, 13)
	if lines, _ := s.take(); len(lines) > 0 {
		t.Errorf("clones were sent: %s", lines)
	}
}

// A process is known until it is freed, however many others end before that, where
// frees come.
func TestStreamOfATreeAwaitsFrees(t *testing.T) {
	for _, r := range []*api.EventsRequest{
		{Events: []string{"free"}, Filter: &api.Filter{Pid: 10, Tree: true}},
		{Events: []string{"free"}, Filter: &api.Filter{Where: "ancestors.exists(a, a.pid == 10)", HideUnknown: true}},
	} {
		for delivered, want := range map[taskwatch.Kinds]string{taskwatch.AllKinds: "[13 14]", taskwatch.KindsOf(taskwatch.Exit): "[14]"} {
			s := newTestStream(t, 1<<20, r)
			s.awaitFrees(delivered)
			event := func(k taskwatch.Kind, pid, ppid int) {
				tk := task(pid, ppid, 0, "", "")
				tk.ID.N = uint64(pid)
				s.event(&taskwatch.Event{Kind: k, Exit: taskwatch.ExitStatus{Group: k == taskwatch.Exit}, Task: tk})
			}
			event(taskwatch.Exec, 10, 1)
			event(taskwatch.Clone, 12, 10)
			event(taskwatch.Clone, 13, 12)
			event(taskwatch.Clone, 14, 10)
			event(taskwatch.Exit, 12, 10)
			event(taskwatch.Exit, 13, 1)
			for pid := 100; pid < 100+2*remembered; pid++ {
				event(taskwatch.Clone, pid, 1)
				event(taskwatch.Exit, pid, 1)
			}
			event(taskwatch.Exit, 14, 10)
			event(taskwatch.Free, 13, 1)
			event(taskwatch.Free, 14, 10)
			lines, _ := s.take()
			var got []int
			for in := record.NewReader(bytes.NewReader(lines), "stream"); ; {
				it, err := in.Next()
				if err != nil {
					break
				}
				got = append(got, it.Event.Task.PID)
			}
			if fmt.Sprint(got) != want {
				t.Errorf("%v, of a source of %v: the frees of %v, want %v", r, delivered, got, want)
			}
		}
	}
}

// What happens below a process is streamed, with what was there already.
func TestStreamOfATree(t *testing.T) {
	testutil.Root(t)
	r := start(t, Config{})
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	shell := newShell(t)
	shell.say(t, "(read x < "+fifo+"; /bin/true below) &") // it is there before the stream
	eventually(t, "the child is there", func() bool {
		pids, err := process.Below(shell.pid())
		return err == nil && len(pids) == 1
	})
	s, err := r.Client.Events(ctx, connect.NewRequest(&api.EventsRequest{
		Events: []string{"exec"}, Filter: &api.Filter{Pid: int32(shell.pid()), Tree: true},
	}))
	if err != nil || !s.Receive() {
		t.Fatal(err, s.Err())
	}
	execLoad(t, 3) // somebody else
	shell.say(t, "/bin/true child; (/bin/true grandchild; :); echo go > "+fifo)
	shell.end(t)
	var c collector
	var text string
	for s.Receive() {
		text += s.Msg().Lines
		if c.add(t, s.Msg().Lines, 3) {
			break
		}
	}
	s.Close()
	for _, want := range []string{`"below"`, `"child"`, `"grandchild"`} {
		if strings.Count(text, want) != 1 {
			t.Errorf("not one exec of %s in:\n%s", want, text)
		}
	}
	if c.execs != 3 {
		t.Errorf("%d execs, want 3", c.execs)
	}
}

// One client is stalled, one has vanished, one reads everything: the last one
// gets it all, and the first one is told what it has missed.
func TestSlowClients(t *testing.T) {
	testutil.Root(t)
	t.Parallel()
	small := defaultLimits
	small.buffer = 256 << 10
	r := startLimited(t, Config{}, small)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	request := &api.EventsRequest{Filter: &api.Filter{Uid: []uint32{stranger}}}
	open := func(ctx context.Context) *connect.ServerStreamForClient[api.EventsResponse] {
		t.Helper()
		transport := r.Client.transport.Clone() // connections of its own
		t.Cleanup(transport.CloseIdleConnections)
		s, err := api.NewDaemonClient(&http.Client{Transport: transport}, "http://daemon").Events(ctx, connect.NewRequest(request))
		if err != nil || !s.Receive() {
			t.Fatal(err, s.Err())
		}
		return s
	}
	stalled, fast := open(ctx), open(ctx)
	vanishes, vanish := context.WithCancel(ctx)
	vanished := open(vanishes)
	vanish()
	vanished.Close()
	eventually(t, "one is gone", func() bool { return r.hub.count() == 2 })

	// A burst is less than what may wait. They come until they are more than
	// what the sockets hold, too.
	const n = 50
	var got collector
	want := 0
	for r.hub.losses() == 0 {
		execLoad(t, n)
		for want += n + 1; got.execs < want; {
			if !fast.Receive() {
				t.Fatalf("the fast one ended with %+v: %v", got, fast.Err())
			}
			got.add(t, fast.Msg().Lines, 0)
			if fast.Msg().Dropped > 0 {
				t.Fatalf("the fast one has lost %d", fast.Msg().Dropped)
			}
		}
	}
	if got.execs != want || got.lost != 0 {
		t.Errorf("the fast one got %+v, want %d execs", got, want)
	}

	// The stalled one goes on, and hears of it.
	lost := r.hub.losses()
	var slow collector
	for slow.lost < lost && stalled.Receive() {
		slow.add(t, stalled.Msg().Lines, 0)
	}
	lost = r.hub.losses() // frees come late
	if slow.lost != lost || slow.execs == 0 || stalled.Msg().Dropped != lost {
		t.Errorf("the stalled one got %+v, want %d losses", slow, lost)
	}
	execLoad(t, 1)
	for more := slow.execs + 2; slow.execs < more; {
		if !stalled.Receive() {
			t.Fatalf("the stalled one ended: %v", stalled.Err())
		}
		slow.add(t, stalled.Msg().Lines, 0)
	}
	if slow.lost != lost {
		t.Errorf("it has lost %d more since it reads", slow.lost-lost)
	}
	stalled.Close()
	fast.Close()
	eventually(t, "all are gone", func() bool { return r.hub.count() == 0 })
}

// A user may have so many streams.
func TestTooManyStreams(t *testing.T) {
	testutil.Require(t, needsConnector)
	few := defaultLimits
	few.streams = 2
	r := startLimited(t, Config{Source: "connector"}, few)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	open := func() *connect.ServerStreamForClient[api.EventsResponse] {
		t.Helper()
		s, err := r.Client.Events(ctx, connect.NewRequest(&api.EventsRequest{Events: []string{"uid"}}))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := open(), open()
	if !a.Receive() || !b.Receive() {
		t.Fatal(a.Err(), b.Err())
	}
	c := open()
	if c.Receive() {
		t.Error("a third stream was opened")
	}
	wantCode(t, c.Err(), connect.CodeResourceExhausted, "too many streams")
	if got := r.curl(t, "-w", " %{http_code}", eventsURL); !strings.HasSuffix(got, " 429") {
		t.Errorf("curl got %q", got)
	}
	for _, s := range []*connect.ServerStreamForClient[api.EventsResponse]{a, b, c} {
		s.Close()
	}
}

// Streams end with the daemon, which does not wait for those that are stalled.
func TestStreamsEndWithTheDaemon(t *testing.T) {
	testutil.Require(t, needsConnector)
	r := start(t, Config{Source: "connector"})
	s, err := r.Client.Events(t.Context(), connect.NewRequest(&api.EventsRequest{}))
	if err != nil || !s.Receive() {
		t.Fatal(err, s.Err())
	}
	done := make(chan error, 1)
	go func() {
		for s.Receive() {
		}
		done <- s.Err()
	}()
	began := time.Now()
	r.cancel()
	select {
	case err := <-done:
		wantCode(t, err, connect.CodeUnavailable, "ending")
	case <-time.After(patient):
		t.Error("the stream goes on")
	}
	s.Close()
	r.stop(t)
	t.Logf("ended within %v", time.Since(began))
}

// Errors of watchers in the kernel and records of modules come with the
// events, unless the client wants only those.
func TestStreamTellsOfModules(t *testing.T) {
	file := kernelFile(t, execCounter)
	r := start(t, Config{Source: bpf.Name})
	r.load(t, "count", file, param("uid", stranger), "fail=y")
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	open := func(only bool) *connect.ServerStreamForClient[api.EventsResponse] {
		t.Helper()
		s, err := r.Client.Events(ctx, connect.NewRequest(&api.EventsRequest{
			Events: []string{"exec"}, EventsOnly: only, Filter: &api.Filter{Uid: []uint32{stranger}},
		}))
		if err != nil || !s.Receive() {
			t.Fatal(err, s.Err())
		}
		return s
	}
	all, only := open(false), open(true)
	execLoad(t, 1)
	for want, s := range map[string]*connect.ServerStreamForClient[api.EventsResponse]{
		"exec error exec error": all, "exec exec": only,
	} {
		var kinds []string
		for len(kinds) < len(strings.Fields(want)) && s.Receive() {
			for line := range strings.Lines(s.Msg().Lines) {
				kind, _, _ := strings.Cut(strings.TrimPrefix(line, `{"event":"`), `"`)
				kinds = append(kinds, kind)
				if kind == "error" && !strings.Contains(line, `"module":"count","watcher":"count_exec","errno":13,"errno_name":"EACCES"`) {
					t.Errorf("error %s", line)
				}
			}
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		s.Close()
	}
	if m := r.modules(t)[0]; m.Calls.Errors != 2 || m.Calls.Vetoes != 0 {
		t.Errorf("calls %v, want 2 errors", m.Calls)
	}
}

// A client that asks for execs that failed gets those of its tasks, and others
// none.
func TestStreamFailedExecs(t *testing.T) {
	for _, c := range []struct {
		events []string
		filter *api.Filter
		want   bool
	}{
		{[]string{"exec-failed"}, nil, true},
		{[]string{"exit", "exec-failed"}, &api.Filter{Where: `comm == "sh"`}, true},
		{[]string{"exec-failed"}, &api.Filter{Where: `comm == "bash"`}, false},
		{[]string{"exec-failed"}, &api.Filter{Where: `tree(10)`}, true},
		{nil, &api.Filter{Where: `kind == "exec-failed"`}, true},
		{[]string{"exec-failed"}, &api.Filter{Uid: []uint32{1}}, false},
		{[]string{"exec"}, nil, false},
		{nil, nil, false},
	} {
		s := newTestStream(t, 10000, &api.EventsRequest{Events: c.events, Filter: c.filter})
		reg := new(taskwatch.Registry)
		if err := reg.Attach(s); err != nil {
			t.Fatal(err)
		}
		shell := task(10, 5, 1000, "sh", "/bin/sh")
		if err := reg.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: shell}); err != nil {
			t.Fatal(err)
		}
		s.take()
		reg.Feed().Deliver(taskwatch.Item{Failed: &taskwatch.FailedExec{Seq: 1, Path: "/nosuch", Errno: syscall.ENOENT, Task: shell}})
		lines, _ := s.take()
		if (len(lines) > 0) != c.want || c.want && !bytes.HasPrefix(lines, []byte(`{"event":"exec-failed",`)) {
			t.Errorf("%q of %v: sent %q, want it: %v", c.events, c.filter, lines, c.want)
		}
		if err := reg.Detach(t.Context(), s); err != nil {
			t.Error(err)
		}
	}
}

// An expression chooses as --where does; what nobody can tell has a mark, also
// behind a queue; what would hold up the source is rejected.
func TestStreamWhere(t *testing.T) {
	known := task(10, 5, 1000, "make", "/usr/bin/make")
	known.Argv = []string{"make", "-j8"}
	for _, c := range []struct {
		where  string
		hide   bool
		ev     taskwatch.Event
		want   bool
		unsure bool
	}{
		{`exe.endsWith("/make") && uid == 1000`, false, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, true, false},
		{`exe.endsWith("/make") && uid == 1001`, false, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, false, false},
		{`argv.exists(a, a == "-j8")`, false, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, true, false},
		{`exit.code == 0`, false, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, false, false},
		{`uid == 0`, false, taskwatch.Event{Kind: taskwatch.Exec, Task: known, Missing: taskwatch.FieldUID}, true, true},
		{`uid == 0`, true, taskwatch.Event{Kind: taskwatch.Exec, Task: known, Missing: taskwatch.FieldUID}, false, false},
		{`tree(10)`, false, taskwatch.Event{Kind: taskwatch.Exec, Task: known}, true, false},
	} {
		s := newTestStream(t, 10000, &api.EventsRequest{Filter: &api.Filter{Where: c.where, HideUnknown: c.hide}})
		s.event(&c.ev)
		lines, _ := s.take()
		if (len(lines) > 0) != c.want || bytes.HasSuffix(lines, []byte(`,"unsure":true}`+"\n")) != c.unsure {
			t.Errorf("%s: sent %q, want %v, unsure %v", c.where, lines, c.want, c.unsure)
		}
	}
	for _, c := range []struct{ where, want string }{
		{`exee == "x"`, "did you mean exe?"},
		{`kind == "exec" && kind == "exit"`, "no event can match"},
		{`argv.exists(a, argv.exists(b, a == b))`, "cost too much"},
	} {
		if _, err := newQuestion(&choice{where: c.where}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.where, err, c.want)
		}
	}
	if _, err := newQuestion(&choice{hide: true}); err == nil {
		t.Error("hide_unknown is taken without where")
	}
}
