package export

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/sink/otlp"
)

// collector keeps the spans that it gets. The first request it asks to be sent
// again.
type collector struct {
	collectorpb.UnimplementedTraceServiceServer
	mu       sync.Mutex
	requests int
	spans    []*tracepb.Span
	resource map[string]string
	header   string // of the last request
}

func (c *collector) take(req *collectorpb.ExportTraceServiceRequest, header string) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = header
	if c.requests++; c.requests == 1 {
		return false
	}
	c.resource = map[string]string{}
	for _, rs := range req.ResourceSpans {
		for _, a := range rs.Resource.Attributes {
			c.resource[a.Key] = a.Value.GetStringValue()
		}
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
	}
	return true
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	text, err := io.ReadAll(body)
	var req collectorpb.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(text, &req) != nil {
		http.Error(w, "bad", http.StatusBadRequest)
		return
	}
	if !c.take(&req, r.Header.Get("X-Key")) {
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	answer, _ := proto.Marshal(&collectorpb.ExportTraceServiceResponse{PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "one"}})
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer)
}

func (c *collector) Export(ctx context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if !c.take(req, strings.Join(md.Get("x-key"), ",")) {
		return nil, status.Error(codes.Unavailable, "later")
	}
	return &collectorpb.ExportTraceServiceResponse{PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "one"}}, nil
}

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func config(t *testing.T, env map[string]string) *otlp.Config {
	t.Helper()
	cfg, err := otlp.FromEnv(func(name string) string { return env[name] }, otlp.Traces)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// By each protocol a collector gets a span of each process, one of each
// program, and one of the run, as a tree below the inherited span.
func TestOTLP(t *testing.T) {
	tr := truthOf(t)
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		for _, compression := range []string{"none", "gzip"} {
			t.Run(protocol+" "+compression, func(t *testing.T) {
				c := &collector{}
				endpoint := serve(t, c, protocol)
				cfg := config(t, map[string]string{
					"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
					"OTEL_EXPORTER_OTLP_COMPRESSION": compression, "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b",
					"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test", "OTEL_SERVICE_NAME": "build",
					"TRACEPARENT": traceparent,
				})
				sink := otlp.New(cfg, otlp.NewSender(cfg))
				export(t, sink)
				checkSpans(t, tr, c.spans)
				if c.header != "a b" || c.resource["service.name"] != "build" || c.resource["deployment.environment.name"] != "test" || c.resource["host.name"] == "" {
					t.Errorf("header %q, resource %v", c.header, c.resource)
				}
				if notes := strings.Join(sink.Notes(), "\n"); !strings.Contains(notes, "1 spans were rejected") {
					t.Errorf("notes %q", notes)
				}
			})
		}
	}
}

func serve(t *testing.T, c *collector, protocol string) (endpoint string) {
	t.Helper()
	if protocol != "grpc" {
		server := httptest.NewServer(c)
		t.Cleanup(server.Close)
		return server.URL
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return "http://" + l.Addr().String()
}

func checkSpans(t *testing.T, tr truth, spans []*tracepb.Span) {
	t.Helper()
	byID := map[string]*tracepb.Span{}
	for _, s := range spans {
		if byID[string(s.SpanId)] != nil || len(s.SpanId) != 8 || hex.EncodeToString(s.TraceId) != traceparent[3:35] {
			t.Errorf("span %v", s)
		}
		byID[string(s.SpanId)] = s
	}
	roots, programs := 0, 0
	for _, s := range spans {
		if s.EndTimeUnixNano < s.StartTimeUnixNano || s.StartTimeUnixNano == 0 {
			t.Errorf("span %q goes from %d to %d", s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano)
		}
		parent := byID[string(s.ParentSpanId)]
		if parent == nil {
			roots++
			if hex.EncodeToString(s.ParentSpanId) != traceparent[36:52] {
				t.Errorf("span %q hangs on %x", s.Name, s.ParentSpanId)
			}
		} else if s.StartTimeUnixNano < parent.StartTimeUnixNano {
			t.Errorf("span %q begins before its parent %q", s.Name, parent.Name)
		}
		for _, a := range s.Attributes {
			if a.Key == "process.executable.name" {
				programs++
			}
		}
	}
	if roots != 1 || programs != tr.execs || len(spans) != 1+tr.processes+tr.execs {
		t.Errorf("%d spans, %d of programs, %d roots; want %d, %d and 1", len(spans), programs, roots, 1+tr.processes+tr.execs, tr.execs)
	}
}

// A file has the same spans, in the JSON that the specification wants: ids in
// hexadecimal digits, enums as numbers, times as strings.
func TestOTLPFile(t *testing.T) {
	var out bytes.Buffer
	cfg := config(t, map[string]string{"TRACEPARENT": traceparent})
	export(t, otlp.New(cfg, otlp.NewFileSender(&out)))
	tr, spans := truthOf(t), 0
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var doc struct {
			ResourceSpans []struct {
				ScopeSpans []struct {
					Spans []struct {
						TraceID, SpanID   string
						Kind              int
						StartTimeUnixNano string
					}
				}
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		for _, s := range doc.ResourceSpans[0].ScopeSpans[0].Spans {
			spans++
			if s.TraceID != traceparent[3:35] || len(s.SpanID) != 16 || s.Kind != 1 || len(s.StartTimeUnixNano) != 19 {
				t.Errorf("span %+v", s)
			}
		}
	}
	if want := 1 + tr.processes + tr.execs; spans != want {
		t.Errorf("%d spans, want %d", spans, want)
	}
}

// Of too many spans the longest stay, with their ancestors, and what is left
// out is said.
func TestOTLPLimit(t *testing.T) {
	c := &collector{requests: 1}
	cfg := config(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": serve(t, c, "http/protobuf"), "TRACEPARENT": traceparent})
	cfg.MaxSpans = 21
	sink := otlp.New(cfg, otlp.NewSender(cfg))
	export(t, sink)
	tr := truthOf(t)
	if len(c.spans) > 21 || len(c.spans) < 15 {
		t.Errorf("%d spans, want 21 at most", len(c.spans))
	}
	byID := map[string]bool{}
	for _, s := range c.spans {
		byID[string(s.SpanId)] = true
	}
	for _, s := range c.spans[1:] {
		if !byID[string(s.ParentSpanId)] {
			t.Errorf("the parent of %q was left out", s.Name)
		}
	}
	left := 1 + tr.processes + tr.execs - len(c.spans)
	if notes := strings.Join(sink.Notes(), "\n"); !strings.Contains(notes, strconv.Itoa(left)+" spans were left out") {
		t.Errorf("notes %q, want %d left out", notes, left)
	}
}

// Those that failed stay before those that took longer, each with its ancestors.
func TestOTLPLimitKeepsFailures(t *testing.T) {
	c := &collector{requests: 1}
	cfg := config(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": serve(t, c, "http/protobuf")})
	cfg.MaxSpans = 9
	sink := otlp.New(cfg, otlp.NewSender(cfg))
	now := int64(0)
	event := func(k taskwatch.Kind, pid, ppid, code int) {
		now += 1000
		sink.Take(taskwatch.Item{Event: &taskwatch.Event{
			Kind: k, Seq: uint64(now), MonoNS: now, Time: time.Unix(1e9, now), Exit: taskwatch.ExitStatus{Code: code, Group: true},
			Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, ParentID: taskwatch.TaskID{Run: 1, N: uint64(ppid)}, PID: pid, TID: pid, PPID: ppid},
		}})
	}
	event(taskwatch.Clone, 2, 1, 0)
	for pid := 10; pid < 30; pid++ { // each lives longer than the one before
		event(taskwatch.Clone, pid, 2, 0)
		now += int64(pid) * 1e6
		event(taskwatch.Exit, pid, 2, 0)
	}
	event(taskwatch.Clone, 40, 2, 0) // lives for a moment, as does what fails below it
	event(taskwatch.Clone, 41, 40, 0)
	event(taskwatch.Exit, 41, 40, 3)
	event(taskwatch.Exit, 40, 2, 0)
	event(taskwatch.Clone, 50, 2, 0)
	event(taskwatch.Exit, 50, 2, 1)
	event(taskwatch.Exit, 2, 1, 0)
	if err := sink.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, s := range c.spans {
		for _, a := range s.Attributes {
			if a.Key == "process.pid" {
				got = append(got, a.Value.GetIntValue())
			}
		}
	}
	slices.Sort(got)
	if want := []int64{2, 26, 27, 28, 29, 40, 41, 50}; !slices.Equal(got, want) {
		t.Errorf("spans of %v, want %v", got, want)
	}
}

// Of a trace that is not sampled nothing is sent, and what the command inherits
// says so.
func TestOTLPNotSampled(t *testing.T) {
	c := &collector{requests: 1}
	cfg := config(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": serve(t, c, "http/protobuf"), "TRACEPARENT": strings.TrimSuffix(traceparent, "1") + "0"})
	sink := otlp.New(cfg, otlp.NewSender(cfg))
	export(t, sink)
	if c.requests != 1 || !strings.HasPrefix(sink.Traceparent(), traceparent[:36]) || !strings.HasSuffix(sink.Traceparent(), "-00") {
		t.Errorf("%d requests; TRACEPARENT=%s", c.requests-1, sink.Traceparent())
	}
}

func TestOTLPVariables(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want string // the endpoint, or part of the error
	}{
		{nil, "http://localhost:4318/v1/traces"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://x/y/"}, "https://x/y/v1/traces"},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://x/y"}, "https://x/y"},
		{map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://localhost:4317"},
		{map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, "http://localhost:4318/v1/traces"},
		{map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "x:1"}, "https://x:1"},
		{map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "x:1", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, "http://x:1"},
		{map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "is not supported"},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://x"}, "no URL of a collector"},
		{map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": "x"}, `"x" is not key=value`},
		{map[string]string{"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "not a number of milliseconds"},
		{map[string]string{"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, "compression is not supported"},
		{map[string]string{"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nosuch"}, "/nosuch"},
		{map[string]string{"OTEL_EXPORTER_OTLP_CLIENT_KEY": "/nosuch"}, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"},
		{map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "a=%zz"}, "OTEL_RESOURCE_ATTRIBUTES"},
	} {
		cfg, err := otlp.FromEnv(func(name string) string { return c.env[name] }, otlp.Traces)
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: %v, want %q", c.env, err, c.want)
			}
		} else if cfg.Endpoint != c.want {
			t.Errorf("%v: endpoint %q, want %q", c.env, cfg.Endpoint, c.want)
		}
	}
	own := config(t, map[string]string{
		"OTEL_EXPORTER_OTLP_HEADERS": "a=all", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=own",
		"OTEL_EXPORTER_OTLP_TIMEOUT": "1", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2500", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
		"OTEL_RESOURCE_ATTRIBUTES": "service.name=a,b=c%20d", "OTEL_SERVICE_NAME": "s",
	})
	if own.Headers["a"] != "own" || own.Timeout != 2500*time.Millisecond || !own.Gzip || own.Resource["service.name"] != "s" || own.Resource["b"] != "c d" {
		t.Errorf("what is said for traces alone: %+v", own)
	}
	logs, err := otlp.FromEnv(func(name string) string {
		return map[string]string{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "https://l/x", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t"}[name]
	}, otlp.Logs)
	if err != nil || logs.Endpoint != "https://l/x" {
		t.Errorf("what is said for logs alone: %+v, %v", logs, err)
	}
	for _, wrong := range []string{"", "x", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", "00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01"} {
		if cfg := config(t, map[string]string{"TRACEPARENT": wrong}); cfg.Parent != [8]byte{} {
			t.Errorf("TRACEPARENT=%s counts", wrong)
		}
	}
}

// Long command lines are sent in requests that a collector takes: servers of
// gRPC reject more than 4 MiB.
func TestOTLPLongCommands(t *testing.T) {
	c := &collector{requests: 1}
	cfg := config(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": serve(t, c, "grpc"), "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TIMEOUT": "60000"})
	sink := otlp.New(cfg, otlp.NewSender(cfg))
	argv := []string{"ld", strings.Repeat("x", 100<<10)}
	const calls = 100
	seq := uint64(0)
	for pid := 2; pid < calls+2; pid++ {
		for _, kind := range []taskwatch.Kind{taskwatch.Clone, taskwatch.Exec, taskwatch.Exit} {
			seq++
			sink.Take(taskwatch.Item{Event: &taskwatch.Event{
				Kind: kind, Seq: seq, MonoNS: int64(seq), Time: time.Unix(1e9, int64(seq)), Exit: taskwatch.ExitStatus{Group: true},
				Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, PID: pid, TID: pid, PPID: 1, Exe: "/bin/ld", Argv: argv},
			}})
		}
	}
	if err := sink.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(c.spans) != 1+2*calls || c.requests < 1+calls/40 {
		t.Errorf("%d spans in %d requests, want %d spans", len(c.spans), c.requests-1, 1+2*calls)
	}
}
