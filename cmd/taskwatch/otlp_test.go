package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// The command gets the run's span as its parent, and a collector gets the
// spans, or the run goes on as if there were none.
func TestRunOTLP(t *testing.T) {
	var (
		mu    sync.Mutex
		spans []*tracepb.Span
	)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		var data tracepb.TracesData
		if err := proto.Unmarshal(body, &data); err != nil {
			t.Error(err)
			return
		}
		spans = append(spans, data.ResourceSpans[0].ScopeSpans[0].Spans...)
	}))
	defer server.Close()
	const inherited = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	run := func(endpoint, traceparent string) result {
		t.Helper()
		c := cmd(t, "run", "--source", "ptrace", "--otlp", "-o", os.DevNull, "--", "sh", "-c", "echo $TRACEPARENT; (exit 3); exit 4")
		c.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT=300", "TRACEPARENT="+traceparent)
		return finish(t, c)
	}
	for _, parent := range []string{inherited, ""} {
		spans = nil
		r := run(server.URL, parent)
		if r.status != 4 || r.stderr != "" {
			t.Fatalf("status %d, stderr %q", r.status, r.stderr)
		}
		root := spans[0]
		want := "00-" + hex.EncodeToString(root.TraceId) + "-" + hex.EncodeToString(root.SpanId) + "-01"
		if got := strings.TrimSpace(r.stdout); got != want {
			t.Errorf("the command's TRACEPARENT is %q, want %q", got, want)
		}
		if parent == inherited && (want[:35] != parent[:35] || hex.EncodeToString(root.ParentSpanId) != parent[36:52]) || parent == "" && root.ParentSpanId != nil {
			t.Errorf("TRACEPARENT=%s: the root is %v", parent, root)
		}
		failed := map[string]int{}
		for _, s := range spans {
			if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
				failed[s.Status.Message]++
			}
		}
		if failed["exit status 3"] != 1 || failed["exit status 4"] != 2 { // a fork; a process and its program
			t.Errorf("errors %v of spans %v", failed, spans)
		}
	}
	server.Close()
	if r := run(server.URL, ""); r.status != 4 || !strings.Contains(r.stderr, "--otlp: spans were not sent: ") {
		t.Errorf("without a collector: status %d, stderr %q", r.status, r.stderr)
	}
}

// Each ending of -o gives what it says.
func TestExports(t *testing.T) {
	dir := t.TempDir()
	args := []string{"run", "--source", "ptrace"}
	begin := map[string]string{
		"b.pftrace": "\n", "b.trace.json": `{"displayTimeUnit":"ms","traceEvents":[`, "b.folded": "", "b.otlp.jsonl": `{"resourceSpans":`,
		"compile_commands.json": "[]", "b.sql": "PRAGMA ", "b.jsonl": `{"`,
	}
	for name := range begin {
		args = append(args, "-o", filepath.Join(dir, name))
	}
	if r := tw(t, append(args, "--", "sh", "-c", "true; sh -c true")...); r.status != 0 || r.stderr != "" {
		t.Fatalf("status %d, stderr %q", r.status, r.stderr)
	}
	for name, want := range begin {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(text) == 0 || !strings.HasPrefix(string(text), want) {
			t.Errorf("%s: %v, begins with %.40q, want %q", name, err, text, want)
		}
	}
}
