package daemon

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/taskwatch/taskwatch/internal/testutil"
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
		{"taskwatch_stream_lost_lines_total", nil, 0},
	} {
		if got := value(c.name, c.labels...); got != c.want {
			t.Errorf("%s%v is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	for _, module := range []string{"module=inkernel", "module=insandbox"} {
		calls, mean, p99 := value("taskwatch_module_calls_total", module), value("taskwatch_module_call_mean_seconds", module), value("taskwatch_module_call_p99_seconds", module)
		if calls < 20 || mean <= 0 || mean > 1 || p99 <= 0 || p99 > 10 {
			t.Errorf("%s: %v calls of %v, p99 %v", module, calls, mean, p99)
		}
	}
	if at := value("taskwatch_start_time_seconds"); time.Since(time.UnixMilli(int64(at*1000))) > patient {
		t.Errorf("started at %v", at)
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
