package daemon

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// The metrics are in the form and under the names that Prometheus wants, and
// say what the modules do.
func TestMetrics(t *testing.T) {
	testutil.Root(t)
	r := start(t, Config{Source: "bpf", Metrics: "127.0.0.1:0", Version: "v1"})
	r.load(t, "inkernel", kernelFile(t, execCounter), param("uid", stranger), "fail=y")
	r.load(t, "insandbox", wasmFile(t, execCounter), param("uid", stranger))
	execLoad(t, 9)
	eventually(t, "the sandbox has all", func() bool { return r.global(t, "insandbox", "exits") == "10" })

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patient}
	get, err := client.Get("http://" + r.metrics.listener.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer get.Body.Close()
	b, err := io.ReadAll(get.Body)
	if err != nil || get.StatusCode != http.StatusOK {
		t.Fatal(get.Status, err)
	}
	problems, err := promlint.New(strings.NewReader(string(b))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "taskwatch_") { // the others are the library's own
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string, labels ...string) float64 {
		t.Helper()
		for _, m := range families[name].GetMetric() {
			if slices.EqualFunc(labels, m.Label, func(want string, l *dto.LabelPair) bool { return l.GetName()+"="+l.GetValue() == want }) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		t.Errorf("there is no %s%v", name, labels)
		return -1
	}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"taskwatch_build_info", []string{"source=bpf", "version=v1"}, 1},
		{"taskwatch_module_info", []string{"kind=kernel", "module=inkernel", "origin=api", "state=live"}, 1},
		{"taskwatch_module_info", []string{"kind=wasm", "module=insandbox", "origin=api", "state=live"}, 1},
		{"taskwatch_module_errors_total", []string{"module=inkernel"}, 10},
		{"taskwatch_module_errors_total", []string{"module=insandbox"}, 0},
		{"taskwatch_module_vetoes_total", []string{"module=inkernel"}, 0},
		{"taskwatch_module_references", []string{"module=insandbox"}, 2},
		{"taskwatch_module_dropped_events_total", []string{"module=insandbox"}, 0},
		{"taskwatch_lost_events_total", nil, 0},
		{"taskwatch_streams", nil, 0},
		{"taskwatch_stream_queued_bytes", nil, 0},
		{"taskwatch_losses_total", []string{"cause=stream"}, 0},
		{"taskwatch_module_globals_left_out", []string{"module=insandbox"}, 0},
		{"taskwatch_stream_lost_lines_total", nil, 0},
	} {
		if got := value(c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	for _, c := range []struct {
		module string
		every  uint64 // of how many calls one is measured
	}{{"inkernel", 1}, {"insandbox", 16}} {
		calls := uint64(value("taskwatch_module_calls_total", "module="+c.module))
		for _, m := range families["taskwatch_module_call_duration_seconds"].GetMetric() {
			h := m.GetHistogram()
			if m.Label[0].GetValue() != c.module {
				continue
			}
			if want := (calls + c.every - 1) / c.every; calls < 20 || h.GetSampleCount() < want || h.GetSampleSum() <= 0 {
				t.Errorf("%s: %d calls, of which %d in %v s were measured; want at least %d", c.module, calls, h.GetSampleCount(), h.GetSampleSum(), want)
			}
			var last uint64
			for _, b := range h.Bucket {
				if b.GetCumulativeCount() < last || b.GetCumulativeCount() > h.GetSampleCount() {
					t.Errorf("%s: the buckets are %v", c.module, h.Bucket)
				}
				last = b.GetCumulativeCount()
			}
			calls = 0
		}
		if calls != 0 {
			t.Errorf("%s has no histogram", c.module)
		}
	}
	if n := value("taskwatch_module_queued_events", "module=insandbox"); n < 0 || n > wasm.DefaultQueue { // others run on
		t.Errorf("%v events wait", n)
	}
	if execs := value("taskwatch_events_total", "event=exec"); execs < 10 {
		t.Errorf("%v execs have happened", execs)
	}
	for _, module := range []string{"inkernel", "insandbox"} {
		if got := value("taskwatch_module_global", "module="+module, "name=execs"); got != 10 {
			t.Errorf("%s: execs is %v", module, got)
		}
	}
	if at := value("taskwatch_start_time_seconds"); int64(at*1000) != r.started.UnixMilli() {
		t.Errorf("started at %v, want %v", at, r.started)
	}
}

// Others cannot reach them.
func TestMetricsAreLocal(t *testing.T) {
	for _, address := range []string{"0.0.0.0:9477", ":9477", "192.0.2.1:9477", "[::]:9477", "example.com:9477"} {
		if _, err := New(Config{Socket: openDir(t) + "/s", Metrics: address}); err == nil || !strings.Contains(err.Error(), "not on the loopback interface") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := New(Config{Socket: openDir(t) + "/s", Metrics: "9477"}); err == nil || !strings.Contains(err.Error(), "missing port") {
		t.Error(err)
	}
}

// There is a bound on what modules can make Prometheus keep.
func TestMetricsAreBounded(t *testing.T) {
	testutil.Require(t, needsConnector)
	r := start(t, Config{Source: "connector"})
	for m := range 12 {
		many := &stubborn{}
		for i := range 100 {
			many.variables = append(many.variables, module.Global{Name: fmt.Sprintf("v%02d", i), Value: uint64(i)})
		}
		e := newListing(&spec{name: fmt.Sprintf("m%d", m)})
		if err := r.Daemon.modules.begin(e); err != nil {
			t.Fatal(err)
		}
		r.Daemon.modules.loaded(e, many, "")
	}
	families := gather(t, r)
	series, leftOut := len(families["taskwatch_module_global"].GetMetric()), 0.0
	for _, m := range families["taskwatch_module_globals_left_out"].GetMetric() {
		leftOut += m.GetGauge().GetValue()
	}
	if series != maxSeries || leftOut != 1200-maxSeries {
		t.Errorf("%d series, and %v left out, want %d and %d", series, leftOut, maxSeries, 1200-maxSeries)
	}
}
