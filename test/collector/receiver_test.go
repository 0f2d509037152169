// Package collector has OpenTelemetry's collector receive what taskwatch sends.
package collector

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(built{m}) }

// built runs tests once the program has been built, at the path program.
type built struct{ m *testing.M }

var program string

// Run implements what [testutil.Main] takes.
func (b built) Run() int {
	dir, err := os.MkdirTemp("", "collector-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "taskwatch")
	cmd := exec.Command("go", "build", "-o", program, "./cmd/taskwatch")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
		return 1
	}
	return b.m.Run()
}

const (
	overHTTP = "http/protobuf"
	overGRPC = "grpc"
)

// receiver is the collector's own receiver, for one protocol.
type receiver struct {
	endpoint string
	traces   consumertest.TracesSink
	logs     consumertest.LogsSink
}

// receive starts a receiver. The port that it is given was free a moment ago;
// if it is not any more, there is another one.
func receive(t *testing.T, protocol string) *receiver {
	t.Helper()
	var err error
	for range 20 {
		r := &receiver{}
		if err = r.start(t, protocol); err == nil {
			return r
		}
	}
	t.Fatal(err)
	return nil
}

func (r *receiver) start(t *testing.T, protocol string) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig().(*otlpreceiver.Config)
	if protocol == overGRPC {
		cfg.Protocols.GRPC.GetOrInsertDefault().NetAddr.Endpoint = address
	} else {
		cfg.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = address
	}
	if err := cfg.Protocols.Validate(); err != nil {
		return err
	}
	set := receivertest.NewNopSettings(factory.Type())
	traces, err := factory.CreateTraces(t.Context(), set, cfg, &r.traces)
	if err != nil {
		return err
	}
	logs, err := factory.CreateLogs(t.Context(), set, cfg, &r.logs)
	if err != nil {
		return err
	}
	for _, p := range []component.Component{traces, logs} { // they are one, of which the first start counts
		if err := p.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			return err
		}
		t.Cleanup(func() {
			if err := p.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	r.endpoint = "http://" + address
	return nil
}

// spans returns what came, in order.
func (r *receiver) spans(t *testing.T) []ptrace.Span {
	t.Helper()
	return spansOf(r.traces.AllTraces()...)
}

func spansOf(list ...ptrace.Traces) (spans []ptrace.Span) {
	for _, td := range list {
		for _, rs := range td.ResourceSpans().All() {
			for _, ss := range rs.ScopeSpans().All() {
				for _, s := range ss.Spans().All() {
					spans = append(spans, s)
				}
			}
		}
	}
	return spans
}

// truth is what a run was.
type truth struct{ processes, programs, failed int }

// check holds spans to what was run: there is one of the run, one of each
// process and one of each program, and they are one tree.
func check(t *testing.T, spans []ptrace.Span, want truth) {
	t.Helper()
	byID := map[[8]byte]ptrace.Span{}
	for _, s := range spans {
		if _, twice := byID[s.SpanID()]; twice || s.SpanID().IsEmpty() || s.TraceID() != spans[0].TraceID() || s.TraceID().IsEmpty() {
			t.Errorf("span %q has the id %s of the trace %s", s.Name(), s.SpanID(), s.TraceID())
		}
		byID[s.SpanID()] = s
	}
	var got truth
	roots := 0
	for _, s := range spans {
		_, program := s.Attributes().Get("process.executable.name")
		if _, below := byID[s.ParentSpanID()]; !below {
			roots++
			continue
		}
		if s.EndTimestamp() < s.StartTimestamp() || s.StartTimestamp() == 0 {
			t.Errorf("span %q goes from %d to %d", s.Name(), s.StartTimestamp(), s.EndTimestamp())
		}
		if program {
			got.programs++
			continue
		}
		got.processes++
		if s.Status().Code() == ptrace.StatusCodeError {
			got.failed++
		}
	}
	if got != want || roots != 1 {
		t.Errorf("%d spans: %+v and %d roots, want %+v", len(spans), got, roots, want)
	}
}

// taskwatch runs it, with the receiver as the collector, and returns its output
// and its status.
func taskwatch(t *testing.T, r *receiver, protocol, compression string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	cmd.Env = append(os.Environ(), "TRACEPARENT=", "OTEL_EXPORTER_OTLP_PROTOCOL="+protocol, "OTEL_EXPORTER_OTLP_ENDPOINT="+r.endpoint,
		"OTEL_EXPORTER_OTLP_TIMEOUT=60000", "OTEL_EXPORTER_OTLP_COMPRESSION="+compression, "OTEL_SERVICE_NAME=build")
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), said.String(), cmd.ProcessState.ExitCode()
}

// each runs a test for each protocol, plain and compressed.
func each(t *testing.T, f func(t *testing.T, protocol, compression string)) {
	for _, protocol := range []string{overHTTP, overGRPC} {
		for _, compression := range []string{"none", "gzip"} {
			t.Run(protocol+" "+compression, func(t *testing.T) { f(t, protocol, compression) })
		}
	}
}

// What a command starts becomes one span each.
func TestRun(t *testing.T) {
	const children = 300 // with a program each: more spans than fit into one request
	each(t, func(t *testing.T, protocol, compression string) {
		r := receive(t, protocol)
		script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do /bin/true; i=$((i+1)); done; /bin/false; exit 3", children)
		_, said, status := taskwatch(t, r, protocol, compression, "run", "--source", "ptrace", "--otlp", "-o", os.DevNull, "--", "sh", "-c", script)
		if status != 3 || said != "" {
			t.Fatalf("status %d, %s", status, said)
		}
		check(t, r.spans(t), truth{processes: children + 2, programs: children + 2, failed: 2})
		for _, td := range r.traces.AllTraces() {
			name, _ := td.ResourceSpans().At(0).Resource().Attributes().Get("service.name")
			if name.AsString() != "build" {
				t.Errorf("the service is %q", name.AsString())
			}
		}
	})
}

// recording is that of a build, and what was run in it.
func recording(t *testing.T) (file string, want truth) {
	t.Helper()
	f, err := os.Open("../export/testdata/bzip2.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	want.processes = 1 // the command, which was there before the first event
	for line := range strings.Lines(string(text)) {
		var l struct {
			Event string
			Task  struct{ PID, TID int }
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		switch {
		case l.Event == "clone" && l.Task.PID == l.Task.TID:
			want.processes++
		case l.Event == "exec":
			want.programs++
		}
	}
	file = filepath.Join(t.TempDir(), "bzip2.jsonl")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, want
}

// So does what is in a recording of a build.
func TestReplay(t *testing.T) {
	file, want := recording(t)
	each(t, func(t *testing.T, protocol, compression string) {
		r := receive(t, protocol)
		if _, said, status := taskwatch(t, r, protocol, compression, "replay", "--otlp", "-o", os.DevNull, file); status != 0 || said != "" {
			t.Fatalf("status %d, %s", status, said)
		}
		check(t, r.spans(t), want)
	})
}

// The collector's reader of OTLP JSON reads the lines of a file.
func TestFile(t *testing.T) {
	file, want := recording(t)
	out := filepath.Join(t.TempDir(), "b.otlp.jsonl")
	if _, said, status := taskwatch(t, &receiver{}, overHTTP, "none", "replay", "-o", out, file); status != 0 || said != "" {
		t.Fatalf("status %d, %s", status, said)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var all []ptrace.Traces
	for line := range strings.Lines(string(text)) {
		td, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, td)
	}
	check(t, spansOf(all...), want)
}

// The daemon sends a log record of each event and, where that is asked for, a
// span of each process that has ended, and at its end what waits.
func TestDaemon(t *testing.T) {
	testutil.Root(t) // a source that sees every process at once
	each(t, func(t *testing.T, protocol, compression string) {
		const jobs = 400
		r, dir := receive(t, protocol), t.TempDir()
		job := filepath.Join(dir, "job")
		text, err := os.ReadFile("/bin/true")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(job, text, 0o700); err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(dir, "taskwatch.toml")
		table := fmt.Sprintf("[otlp]\nendpoint = %q\nprotocol = %q\ncompression = %q\nevents = [\"exec\"]\nwhere = 'exe == %q'\nspans = true\n", r.endpoint, protocol, compression, job)
		if err := os.WriteFile(config, []byte(table), 0o600); err != nil {
			t.Fatal(err)
		}
		socket := filepath.Join(dir, "s")
		daemon := exec.Command(program, "serve", "--config", config, "--socket", socket)
		daemon.Env = append(os.Environ(), "OTEL_SERVICE_NAME=build")
		log, err := daemon.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		lines := bufio.NewScanner(log)
		for ready := 0; ready < 2 && lines.Scan(); { // both signals
			fmt.Fprintln(&said, lines.Text())
			if strings.Contains(lines.Text(), "otlp: sending") {
				ready++
			}
		}
		script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do %s; i=$((i+1)); done; exit 0", jobs, job)
		if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		if err := daemon.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		for lines.Scan() {
			fmt.Fprintln(&said, lines.Text())
		}
		if err := daemon.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, said.String())
		}
		records := 0
		for _, ld := range r.logs.AllLogs() {
			for _, rl := range ld.ResourceLogs().All() {
				for _, sl := range rl.ScopeLogs().All() {
					for _, l := range sl.LogRecords().All() {
						path, _ := l.Attributes().Get("process.executable.path")
						if l.EventName() != "taskwatch.exec" || path.AsString() != job {
							t.Errorf("record %q of %q", l.EventName(), path.AsString())
						}
						records++
					}
				}
			}
		}
		var processes, programs int
		traces := map[[16]byte]bool{}
		for _, s := range r.spans(t) {
			if s.Name() != "job" {
				continue
			}
			traces[s.TraceID()] = true
			if _, program := s.Attributes().Get("process.executable.name"); program {
				programs++
			} else {
				processes++
			}
		}
		if records != jobs || processes != jobs || programs != jobs || len(traces) != 1 {
			t.Errorf("%d records, %d spans of processes and %d of programs in %d traces; want %d of each in one\n%s", records, processes, programs, len(traces), jobs, said.String())
		}
	})
}
