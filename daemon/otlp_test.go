package daemon

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/sink/otlp"
)

// receiver is a collector that keeps what it gets.
type receiver struct {
	*httptest.Server
	gate sync.Mutex    // held while it answers nothing
	at   chan struct{} // a request is at the gate

	mu    sync.Mutex // guards what follows
	logs  []*logspb.LogRecord
	spans []*tracepb.Span
	key   string // a header
}

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{at: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		select {
		case r.at <- struct{}{}:
		default:
		}
		r.gate.Lock()
		defer r.gate.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.key = req.Header.Get("X-Key")
		var logs collectorlogs.ExportLogsServiceRequest
		var traces collectortrace.ExportTraceServiceRequest
		switch {
		case err == nil && req.URL.Path == "/v1/logs" && proto.Unmarshal(body, &logs) == nil:
			for _, rl := range logs.ResourceLogs {
				for _, sl := range rl.ScopeLogs {
					r.logs = append(r.logs, sl.LogRecords...)
				}
			}
		case err == nil && req.URL.Path == "/v1/traces" && proto.Unmarshal(body, &traces) == nil:
			for _, rs := range traces.ResourceSpans {
				for _, ss := range rs.ScopeSpans {
					r.spans = append(r.spans, ss.Spans...)
				}
			}
		default:
			http.Error(w, "what is this?", http.StatusBadRequest)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// got returns the records of a kind.
func (r *receiver) got(name string) (list []*logspb.LogRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.logs {
		if l.EventName == name {
			list = append(list, l)
		}
	}
	return list
}

func (r *receiver) to(c OTLP) OTLP {
	c.Settings = map[string]string{"endpoint": r.URL, "headers": "x-key=secret"}
	return c
}

// value returns an attribute as text.
func value(list []*commonpb.KeyValue, key string) string {
	for _, a := range list {
		if a.Key != key {
			continue
		}
		switch v := a.Value.Value.(type) {
		case *commonpb.AnyValue_StringValue:
			return v.StringValue
		case *commonpb.AnyValue_IntValue:
			return fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			return fmt.Sprint(v.BoolValue)
		case *commonpb.AnyValue_ArrayValue:
			var parts []string
			for _, e := range v.ArrayValue.Values {
				parts = append(parts, e.GetStringValue())
			}
			return strings.Join(parts, " ")
		}
	}
	return "none"
}

// actors play a script for a daemon.
type actors struct {
	src *script
	seq uint64
}

func (a *actors) event(k taskwatch.Kind, pid, ppid int, set func(*taskwatch.Event)) {
	a.seq++
	ev := &taskwatch.Event{Kind: k, Seq: a.seq, Time: time.Unix(1e9, int64(a.seq)), MonoNS: int64(a.seq), Task: &taskwatch.Task{
		ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, PID: pid, TID: pid, PPID: ppid, ParentID: taskwatch.TaskID{Run: 1, N: uint64(ppid)}, Comm: "actor",
	}}
	if set != nil {
		set(ev)
	}
	a.src.events <- ev
}

// settle returns when all events before were delivered: the next one was taken,
// which nobody gets.
func (a *actors) settle() { a.event(taskwatch.Free, 1, 0, nil) }

// job is a process that runs a program and ends.
func (a *actors) job(pid, ppid, code int) {
	a.event(taskwatch.Clone, pid, ppid, nil)
	a.event(taskwatch.Exec, pid, ppid, func(ev *taskwatch.Event) {
		ev.Task.Exe, ev.Task.Argv, ev.Task.UID = "/bin/job", []string{"job", "-x"}, taskwatch.IDs{7, 8, 9, 10}
	})
	a.event(taskwatch.Exit, pid, ppid, func(ev *taskwatch.Event) {
		ev.Task.Exe, ev.Exit = "/bin/job", taskwatch.ExitStatus{Code: code, Group: true}
	})
}

func perform() *actors {
	return &actors{src: &script{events: make(chan *taskwatch.Event), items: make(chan taskwatch.Item)}}
}

// Events become log records with all their fields, once each, and the end of
// the daemon sends what waits.
func TestLogs(t *testing.T) {
	c, a := newReceiver(t), perform()
	r := start(t, Config{Open: a.src.open(nil), OTLP: c.to(OTLP{Logs: true, Events: []string{"exec", "exit"}, Where: `exe == "/bin/job"`})})
	const jobs = 1000 // more than fit into one request
	for i := range jobs {
		a.job(100+i, 1, i%2)
	}
	a.event(taskwatch.Exec, 99, 1, func(ev *taskwatch.Event) { ev.Task.Exe = "/bin/other" })
	r.stop(t)
	execs, exits := c.got("taskwatch.exec"), c.got("taskwatch.exit")
	if len(execs) != jobs || len(exits) != jobs || len(c.logs) != 2*jobs || c.key != "secret" {
		t.Fatalf("%d records: %d execs and %d exits; the key is %q", len(c.logs), len(execs), len(exits), c.key)
	}
	first := execs[0]
	for key, want := range map[string]string{
		"process.pid": "100", "process.parent_pid": "1", "process.executable.path": "/bin/job", "process.executable.name": "job",
		"process.command_args": "job -x", "process.real_user.id": "7", "process.user.id": "8", "process.saved_user.id": "9",
	} {
		if got := value(first.Attributes, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	if at := int64(first.TimeUnixNano); at != 1e18+2 || first.SeverityText != "INFO" || first.Body.GetStringValue() != "exec /bin/job" {
		t.Errorf("the record is %v", first)
	}
	if got := value(exits[1].Attributes, "process.exit.code"); got != "1" {
		t.Errorf("the exit code is %s", got)
	}
}

// An exec that failed becomes a log record where it is asked for.
func TestFailedExecLogs(t *testing.T) {
	for _, c := range []struct {
		events []string
		want   int
	}{{[]string{"exit", "exec-failed"}, 1}, {[]string{"exit"}, 0}} {
		to, a := newReceiver(t), perform()
		r := start(t, Config{Open: a.src.open(nil), OTLP: to.to(OTLP{Logs: true, Events: c.events})})
		a.src.items <- taskwatch.Item{Failed: &taskwatch.FailedExec{
			Seq: 1, Time: time.Unix(3, 4), Path: "/nosuch", Argv: []string{"no", "such"}, ArgvCut: true, Errno: syscall.ENOENT,
			Task: &taskwatch.Task{PID: 5, TID: 5, PPID: 4, Comm: "sh", Exe: "/bin/sh"}, Missing: taskwatch.FieldExe | taskwatch.FieldCwd,
		}}
		r.stop(t)
		got := to.got("taskwatch.exec_failed")
		if len(got) != c.want {
			t.Fatalf("%q: %d records, want %d", c.events, len(got), c.want)
		}
		for _, rec := range got {
			for key, want := range map[string]string{
				"process.pid": "5", "thread.name": "sh", "process.executable.path": "/nosuch", "process.command_args": "no such",
				"error.type": "ENOENT", "taskwatch.argv_cut": "true", "taskwatch.missing": "cwd",
			} {
				if v := value(rec.Attributes, key); v != want {
					t.Errorf("%s is %q, want %q", key, v, want)
				}
			}
			if rec.TimeUnixNano != 3e9+4 || rec.Body.GetStringValue() != `exec "/nosuch" failed: ENOENT` {
				t.Errorf("the record is %v", rec)
			}
		}
	}
}

// On request, spans come as processes end: each trace begins with a process
// whose maker was there before.
func TestSpans(t *testing.T) {
	c, a := newReceiver(t), perform()
	r := start(t, Config{Open: a.src.open(nil), OTLP: c.to(OTLP{Spans: true})})
	a.event(taskwatch.Exec, 50, 1, nil) // a process that was there before
	a.event(taskwatch.Clone, 60, 50, nil)
	a.job(61, 60, 0)
	a.job(62, 60, 3)
	a.event(taskwatch.Clone, 63, 60, nil) // lives on
	a.event(taskwatch.Exit, 60, 50, func(ev *taskwatch.Event) { ev.Exit.Group = true })
	a.job(70, 50, 0)
	eventually(t, "what has ended is there, without an end of the daemon", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.spans) == 7
	})
	r.stop(t)
	traces := map[string][]string{}
	for _, s := range c.spans {
		text := value(s.Attributes, "process.pid")
		if s.ParentSpanId == nil {
			text += " root"
		}
		if value(s.Attributes, "process.executable.name") != "none" {
			text += " program"
		}
		if value(s.Attributes, "taskwatch.running") == "true" {
			text += " running"
		}
		if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
			text += " failed"
		}
		traces[string(s.TraceId)] = append(traces[string(s.TraceId)], text)
	}
	var got []string
	for _, list := range traces {
		slices.Sort(list)
		got = append(got, strings.Join(list, ", "))
	}
	slices.Sort(got)
	want := []string{
		"60 root, 61, 61 program, 62 failed, 62 program failed, 63 running",
		"70 program, 70 root",
	}
	if !slices.Equal(got, want) {
		t.Errorf("traces %q, want %q", got, want)
	}
}

// gather returns the metrics, which are in the form that Prometheus wants.
func gather(t testing.TB, r *running) map[string]*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(r.Daemon.collector())
	list, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(list).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	families := map[string]*dto.MetricFamily{}
	for _, f := range list {
		families[f.GetName()] = f
	}
	return families
}

// A collector that does not answer holds nothing up: what finds no room is
// lost, and counted, and with what was sent that is all.
func TestStuckCollector(t *testing.T) {
	t.Parallel()
	c, a := newReceiver(t), perform()
	limits := defaultLimits
	limits.export = 64 << 10
	r := startLimited(t, Config{Open: a.src.open(nil), OTLP: c.to(OTLP{Logs: true, Events: []string{"exit"}})}, limits)
	c.gate.Lock()
	exits := uint64(0)
	exit := func() {
		exits++
		a.event(taskwatch.Exit, 100, 1, func(ev *taskwatch.Event) { ev.Exit.Group = true })
	}
	exit()
	<-c.at                // the first request is on its way
	for range 2 * 10000 { // none of these waits
		exit()
	}
	a.settle()
	of := func() exported {
		list := r.Daemon.exports.counts()
		if len(list) != 1 || list[0].signal != otlp.Logs {
			t.Fatalf("counts %v", list)
		}
		return list[0]
	}
	if n := of(); n.lost["queue"] == 0 || n.sent != 0 {
		t.Errorf("while the collector is stuck: %+v", n)
	}
	families := gather(t, r)
	for _, name := range []string{"taskwatch_export_sent_total", "taskwatch_export_queued_bytes"} {
		if len(families[name].GetMetric()) != 1 {
			t.Errorf("there is no %s", name)
		}
	}
	for _, m := range families["taskwatch_export_lost_total"].GetMetric() {
		cause, n := m.Label[0].GetValue(), m.GetCounter().GetValue()
		if (n > 0) != (cause == "queue") {
			t.Errorf("%v were lost by %s", n, cause)
		}
	}
	c.gate.Unlock()
	r.stop(t)
	n := of()
	if n.sent+n.lost["queue"] < exits || n.lost["failed"]+n.lost["rejected"] != 0 {
		t.Errorf("of %d events: %+v", exits, n)
	}
	if got := uint64(len(c.got("taskwatch.exit"))); got+n.lost["queue"] != exits {
		t.Errorf("%d of %d events have come, and %d were lost", got, exits, n.lost["queue"])
	}
	told := uint64(0)
	for _, l := range c.got("taskwatch.lost") {
		var count uint64
		if _, err := fmt.Sscan(value(l.Attributes, "taskwatch.count"), &count); err != nil || l.SeverityText != "WARN" {
			t.Errorf("%v: %v", err, l)
		}
		told += count
	}
	if told != n.lost["queue"] {
		t.Errorf("the log tells of %d lost events, want %d", told, n.lost["queue"])
	}
}

// A reload starts, moves and ends what is sent; one that is no good changes
// nothing.
func TestReloadOTLP(t *testing.T) {
	one, two, a := newReceiver(t), newReceiver(t), perform()
	r := start(t, Config{Open: a.src.open(nil)})
	reload := func(c OTLP) {
		t.Helper()
		if err := r.Daemon.ReloadOTLP(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	exec := func(pid int) {
		a.event(taskwatch.Exec, pid, 1, nil)
		a.settle()
	}
	exec(1)
	reload(one.to(OTLP{Logs: true}))
	exec(2)
	reload(one.to(OTLP{Logs: true})) // the same
	exec(3)
	for _, bad := range []OTLP{two.to(OTLP{Where: "uid == 0"}), two.to(OTLP{Logs: true, Where: "uid =="}), two.to(OTLP{Logs: true, Events: []string{"x"}}), {Logs: true, Settings: map[string]string{"protocol": "x"}}} {
		if err := r.Daemon.ReloadOTLP(t.Context(), bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	exec(4)
	reload(two.to(OTLP{Logs: true}))
	exec(5)
	reload(OTLP{})
	exec(6)
	r.stop(t)
	pids := func(c *receiver) (list []string) {
		for _, l := range c.logs {
			list = append(list, value(l.Attributes, "process.pid"))
		}
		return list
	}
	if a, b := pids(one), pids(two); !slices.Equal(a, []string{"2", "3", "4"}) || !slices.Equal(b, []string{"5"}) {
		t.Errorf("the first collector got %q, the second one %q", a, b)
	}
	if log := r.log.String(); strings.Count(log, "otlp: sending") != 2 {
		t.Errorf("the log is\n%s", log)
	}
}

// Without a collector the daemon runs and ends, says it once, and counts.
func TestNoCollector(t *testing.T) {
	gone, a := newReceiver(t), perform()
	gone.Close()
	c := gone.to(OTLP{Logs: true})
	c.Settings["timeout"] = "50"
	r := start(t, Config{Open: a.src.open(nil), OTLP: c})
	for range 2 {
		a.event(taskwatch.Exec, 9, 1, nil)
		want := r.Daemon.exports.counts()[0].lost["failed"] + 1
		eventually(t, "it is given up", func() bool { return r.Daemon.exports.counts()[0].lost["failed"] == want })
	}
	r.stop(t)
	if log := r.log.String(); strings.Count(log, "otlp: nothing is sent") != 1 {
		t.Errorf("the log is\n%s", log)
	}
	if _, err := New(Config{Socket: openDir(t) + "/s", OTLP: OTLP{Spans: true, Settings: map[string]string{"compression": "zip"}}}); err == nil || !strings.Contains(err.Error(), "otlp: compression=zip") {
		t.Errorf("a wrong configuration: %v", err)
	}
}

// The file's keys become the settings of both signals.
func TestFileOTLP(t *testing.T) {
	dir := openDir(t)
	name := filepath.Join(dir, "f.toml")
	text := `[otlp]
endpoint = "https://collector:4318"
headers = { a = "b, c", d = "e%" }
timeout = "1.5s"
compression = "gzip"
events = ["exec"]
where = "uid == 0"
spans = true
`
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := f.Config(name)
	if err != nil {
		t.Fatal(err)
	}
	c := cfg.OTLP
	if !c.Logs || !c.Spans || c.Where != "uid == 0" || !slices.Equal(c.Events, []string{"exec"}) {
		t.Errorf("it is %+v", c)
	}
	for signal, path := range map[otlp.Signal]string{otlp.Logs: "/v1/logs", otlp.Traces: "/v1/traces"} {
		got, err := c.read(signal)
		if err != nil {
			t.Fatal(err)
		}
		if got.Endpoint != "https://collector:4318"+path || got.Headers["a"] != "b, c" || got.Headers["d"] != "e%" ||
			got.Timeout != 1500*time.Millisecond || !got.Gzip {
			t.Errorf("%s: %+v", signal, got)
		}
	}
	off := false
	if none := (*FileOTLP)(nil).config(dir); none.Logs || none.Spans {
		t.Errorf("without a table: %+v", none)
	}
	with := (&FileOTLP{Logs: &off, Certificate: "ca.pem"}).config(dir)
	if with.Logs || with.Settings["certificate"] != filepath.Join(dir, "ca.pem") {
		t.Errorf("with a certificate: %+v", with)
	}
}
