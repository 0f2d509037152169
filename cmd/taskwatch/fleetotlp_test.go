package main

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/record"
)

// nodeLine returns the line of an exec of a pid, as a node sends it.
func nodeLine(pid int) []byte {
	return record.Append(nil, taskwatch.Item{Event: &taskwatch.Event{
		Kind: taskwatch.Exec, Seq: uint64(pid), Time: time.Unix(1_700_000_000, 0),
		Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, TID: pid, PID: pid, PPID: 1, Comm: "job", Exe: "/bin/job"},
	}})
}

// text returns an attribute.
func text(list []*commonpb.KeyValue, name string) string {
	for _, a := range list {
		if a.Key == name {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// What the nodes of a fleet say reaches a collector as well: the records of each node
// under its resource, in their order, with losses and marks.
func TestFleetOTLP(t *testing.T) {
	got := map[string][]*logspb.LogRecord{} // by node and key
	var mu sync.Mutex                       // guards got
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var data logspb.LogsData
		if err != nil || r.URL.Path != "/v1/logs" || proto.Unmarshal(body, &data) != nil {
			t.Errorf("a request to %s cannot be read: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, rl := range data.ResourceLogs {
			a := rl.Resource.Attributes
			if text(a, "service.name") != "siem" || text(a, "host.arch") != "" {
				t.Errorf("the resource is %v", a)
			}
			node := text(a, "host.name") + " " + text(a, "taskwatch.node_key")
			got[node] = append(got[node], rl.ScopeLogs[0].LogRecords...)
		}
	}))
	defer server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_SERVICE_NAME", "siem")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=operator")
	logs, err := (&fleetOTLP{send: true}).open()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	lines := nodeLines{out: bufio.NewWriter(&out), logs: logs}
	a, b := operator.NodeID{Key: "UA", Name: "web"}, operator.NodeID{Key: "UB", Name: "web"}
	const each = 700 // more than one request has
	start := record.Append(nil, taskwatch.Item{Start: &taskwatch.Start{Source: "bpf"}})
	for _, n := range []operator.NodeID{a, b} {
		lines.write(n, start)
	}
	for i := range each {
		lines.write(a, nodeLine(i+1))
		lines.write(b, record.MarkUnsure(nodeLine(i+1)))
	}
	lines.write(b, record.Append(nil, taskwatch.Item{Loss: &taskwatch.Loss{Count: 7}}))
	logs.end()
	if c := logs.Counts(); c.Sent != 2*each+1 || c.Failed+c.Rejected != 0 {
		t.Errorf("the counts are %+v", c)
	}
	if n := strings.Count(out.String(), "\n"); n != 2*each+3 || lines.failed != nil {
		t.Errorf("%d lines were written, %v", n, lines.failed)
	}
	mu.Lock()
	defer mu.Unlock()
	for node, want := range map[string]int{"web UA": each, "web UB": each + 1} {
		list := got[node]
		if len(got) != 2 || len(list) != want {
			t.Fatalf("%d nodes; %d records are of node %s, want %d", len(got), len(list), node, want)
		}
		for i, r := range list[:each] {
			unsure := slices.ContainsFunc(r.Attributes, func(a *commonpb.KeyValue) bool { return a.Key == "taskwatch.unsure" && a.Value.GetBoolValue() })
			pid := slices.ContainsFunc(r.Attributes, func(a *commonpb.KeyValue) bool {
				return a.Key == "process.pid" && a.Value.GetIntValue() == int64(i+1)
			})
			if !pid || r.EventName != "taskwatch.exec" || unsure != (node == "web UB") {
				t.Fatalf("record %d of node %s is %v", i, node, r)
			}
		}
	}
	if last := got["web UB"][each]; last.EventName != "taskwatch.lost" || last.SeverityText != "WARN" {
		t.Errorf("the loss is %v", last)
	}
}

// A collector that is not there keeps no line from the output, and is said once, with
// what was not sent.
func TestFleetOTLPWithoutCollector(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "50")
	logs, err := (&fleetOTLP{send: true}).open()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	lines := nodeLines{out: bufio.NewWriter(&out), logs: logs}
	for i := range 10 {
		lines.write(operator.NodeID{Key: "UA", Name: "web"}, nodeLine(i+1))
	}
	logs.end()
	if c := logs.Counts(); c.Failed != 10 || c.Sent != 0 || strings.Count(out.String(), "\n") != 10 {
		t.Errorf("the counts are %+v, and the lines\n%s", c, out.String())
	}
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier pigeon")
	if _, err := (&fleetOTLP{send: true}).open(); err == nil || !strings.Contains(err.Error(), "carrier pigeon") {
		t.Errorf("a wrong protocol: %v", err)
	}
}
