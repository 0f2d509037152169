package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func testConfig() Config {
	return Config{Self: []string{"/proc/self/exe", childArg}, Pairs: 1, Operations: testutil.Size(48, 48, 160), Shared: true}
}

// Every watcher of taskwatch tells of exactly what the loads did, but for what it says is
// lost: what else runs on the machine may fill its buffers.
func TestNothingIsLost(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t)
	t.Parallel()
	cfg := testConfig()
	all := slices.Concat(ours, sources)
	if !testutil.NeedsNightly.Met() { // the Go watcher is one of them already
		all = slices.DeleteFunc(all, func(w *Watcher) bool { return w.Name == waking || w.Name == soon })
	}
	results, err := Measure(t.Context(), cfg, all)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(all) {
		t.Fatalf("%d results of %d watchers", len(results), len(all))
	}
	for i, r := range results {
		if r.Watcher != all[i].Name || r.Missing != "" || r.PeakRSS == 0 || len(r.Loads) != int(numLoads) {
			t.Errorf("result %+v of %s", r, all[i].Name)
			continue
		}
		for _, lr := range r.Loads {
			if r.Watcher == InKernel {
				// Some kernels do not tell every free; the source infers those.
				lr.Lost -= lr.LostOf[taskwatch.Free.String()]
			}
			load, _ := tag("").load(lr.Load)
			if want := sum(load.truth(cfg.Operations), all[i].Kinds); lr.Events != want || !isTold(&r, &lr) || lr.Operations != cfg.Operations {
				t.Errorf("%s, load %s: %d events in %d operations, %v lost, %d told of; want %d events", r.Watcher, lr.Load, lr.Events, lr.Operations, lr.LostOf, r.Told, want)
			}
			if lr.Ratio.Median <= 0 || lr.AloneNS.Median <= 0 || lr.WatchedNS.Median <= 0 || lr.CPUPerUS.Median < 0 {
				t.Errorf("%s, load %s: %+v", r.Watcher, lr.Load, lr)
			}
		}
	}
	var table, text bytes.Buffer
	if err := WriteMarkdown(&table, results); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(table.String()), "\n")
	if len(lines) != len(all)+2 {
		t.Errorf("the table has %d lines:\n%s", len(lines), table.String())
	}
	for _, line := range lines {
		if strings.Count(line, "|") != strings.Count(lines[0], "|") {
			t.Errorf("a row with other columns than the head: %s", line)
		}
	}
	if err := json.NewEncoder(&text).Encode(results); err != nil {
		t.Fatal(err)
	}
	var back []Result
	if err := json.Unmarshal(text.Bytes(), &back); err != nil || len(back) != len(results) {
		t.Errorf("JSON does not come back: %v", err)
	}
}

// isTold reports whether a watcher has told of no more events of a load than there were,
// and of those that are missing that they are lost.
func isTold(r *Result, l *LoadResult) bool {
	return l.Lost >= 0 && uint64(l.Lost) <= r.Told
}

// Of a tool that is there, the output is understood; one that is not is named.
func TestOtherTools(t *testing.T) {
	testutil.Root(t)
	testutil.Nightly(t) // five tools that seldom change
	cfg := testConfig()
	cfg.Loads = []Load{Exec}
	before := tracingMounts(t)
	for _, w := range others {
		results, err := Measure(t.Context(), cfg, []*Watcher{w})
		if err != nil {
			t.Error(err)
			continue
		}
		r := results[0]
		if _, err := exec.LookPath(w.tool); err != nil {
			if r.Missing == "" || r.Loads != nil {
				t.Errorf("%s is not installed, and has a result: %+v", w.Name, r)
			}
			continue
		}
		if r.Missing != "" || len(r.Loads) != 1 {
			t.Errorf("%s is installed: %+v", w.Name, r)
		}
		for _, lr := range r.Loads {
			// forkstat loses events, and tells of other tasks as if they were the load's.
			if lr.Events == 0 || lr.Lost > int64(lr.Events/2) {
				t.Errorf("%s, load %s: %d of %d events lost", w.Name, lr.Load, lr.Lost, lr.Events)
			}
		}
	}
	if after := tracingMounts(t); after != before {
		t.Errorf("tracefs was mounted %d times before and is %d times now", before, after)
	}
}

// tracingMounts returns how often tracefs is mounted.
func tracingMounts(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(b), " tracefs ")
}

// What is not installed, or ends instead of watching, is named, and costs the
// others nothing.
func TestMissingToolIsNamed(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t)
	t.Parallel()
	cfg := testConfig()
	cfg.Operations = 16
	results, err := Measure(t.Context(), cfg, []*Watcher{
		{Name: "missing", tool: "taskwatch-no-such-tool", toFile: true},
		{Name: "rejecting", tool: "sh", args: []string{"-c", "echo no >&2"}, toFile: true},
		ByName(InKernel),
	})
	if err != nil || len(results) != 3 || results[2].Missing != "" {
		t.Fatalf("got %+v, %v", results, err)
	}
	var table bytes.Buffer
	if err := WriteMarkdown(&table, results); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| missing | not measured: taskwatch-no-such-tool is not installed |", "| rejecting | not measured: sh does not run here: no |",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
}

func TestMeasuringIsEndedByItsContext(t *testing.T) {
	testutil.Root(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	cfg := testConfig()
	cfg.Pairs = 1000
	if _, err := Measure(ctx, cfg, ours); ctx.Err() == nil || err == nil {
		t.Errorf("it went on: %v", err)
	}
}

func TestMeasuringNeedsRoot(t *testing.T) {
	if os.Geteuid() == 0 {
		if err := check(); err != nil {
			t.Error(err)
		}
		return
	}
	if _, err := Measure(t.Context(), testConfig(), ours); err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("got %v", err)
	}
}

func TestChildRejectsWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{nil, {"go=10ms"}, {"nonsense", "abcd"}, {"go=often", "abcd"}, {"kernel=many", "abcd"}, {"wasm=0", "abcd"}} {
		if err := Child(args, strings.NewReader(""), &bytes.Buffer{}); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}

// A load that is called wrongly does nothing and says so.
func TestLoadsRejectWrongArguments(t *testing.T) {
	p, err := newPrograms()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, args := range [][]string{{}, {"fork"}, {"nonsense", "1", "-1", "0"}} {
		var exit *exec.ExitError
		if err := exec.Command(p.path("fork"), args...).Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
			t.Errorf("load %q: %v", args, err)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		list []float64
		want Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{5, 1, 3}, Spread{2, 3, 4}},
		{[]float64{4, 1, 3, 2}, Spread{1.75, 2.5, 3.25}},
	} {
		if got := SpreadOf(c.list); got != c.want {
			t.Errorf("%v: got %v, want %v", c.list, got, c.want)
		}
	}
}

func TestLatencyBuckets(t *testing.T) {
	last := -1
	for ns := uint64(1); ns < 1<<40; ns += ns/16 + 1 {
		b := bucketOf(ns)
		if b < last || uint64(upper(b)) < ns || float64(upper(b)) > 1.04*float64(ns)+1 {
			t.Fatalf("%d ns are in bucket %d, which ends at %v", ns, b, upper(b))
		}
		last = b
	}
	var l latencies
	for i := range int64(1000) {
		l.add(i * 1000)
	}
	if m := l.quantile(0.5); m < 499*time.Microsecond || m > 520*time.Microsecond {
		t.Errorf("median %v", m)
	}
}

func TestForkstatLines(t *testing.T) {
	count := forkstatLines(&programs{tag: "abcd"})
	var seen tally
	for line := range strings.Lines(`Time     Event   PID Info   Duration Process
15:08:24 exit    77      0  unknown <unknown>
15:08:24 exec    90                 abcdfork
15:08:24 fork    90 parent          abcdfork
15:08:24 fork    91 child           abcdfork
15:08:24 exit    91      0   0.000s <unknown>
15:08:24 fork    90 parent          [swapper]
15:08:24 fork    92 child           <unknown>
15:08:24 exit    92      0   0.000s abcdfork
15:08:24 exit    60      0   0.000s bash
15:08:24 exit    90      0   0.100s abcdfork
15:08:24 exit    78      0  unknown <unknown>
15:08:25 exec    95                 abcdexec
15:08:25 exit    95      0   0.100s abcdexec
`) {
		if l, k, ok := count(line); ok {
			seen[l][k]++
		}
	}
	var want tally
	want[Fork] = [taskwatch.NumKinds]uint64{taskwatch.Clone: 2, taskwatch.Exec: 1, taskwatch.Exit: 3}
	want[Exec] = [taskwatch.NumKinds]uint64{taskwatch.Exec: 1, taskwatch.Exit: 1}
	if seen != want {
		t.Errorf("got %v, want %v", seen, want)
	}
}

func TestPagesAreUpdatedInPlace(t *testing.T) {
	page := "before\n<!-- taskbench a -->\nold\n<!-- end of a -->\nbetween\n<!-- taskbench b -->\n<!-- end of b -->\nafter\n"
	for range 2 { // the second time changes nothing
		for _, name := range []string{"a", "b"} {
			var err error
			if page, err = UpdatePage(page, name, "| "+name+" |\n"); err != nil {
				t.Fatal(err)
			}
		}
		want := "before\n<!-- taskbench a -->\n\n| a |\n\n<!-- end of a -->\nbetween\n<!-- taskbench b -->\n\n| b |\n\n<!-- end of b -->\nafter\n"
		if page != want {
			t.Errorf("got %q, want %q", page, want)
		}
	}
	if _, err := UpdatePage(page, "c", ""); err == nil || !strings.Contains(err.Error(), "taskbench c") {
		t.Errorf("a page without a place: %v", err)
	}
}

func TestTablesHaveNames(t *testing.T) {
	if _, err := MakeTable(t.Context(), testConfig(), "nonsense"); err == nil || !strings.Contains(err.Error(), "apart, shared") {
		t.Errorf("got %v", err)
	}
}

func TestThePageHasAPlaceForEveryTable(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("../../docs/performance.md"))
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(TableNames(), "machine") {
		if _, err := UpdatePage(string(page), name, "x"); err != nil {
			t.Error(err)
		}
	}
}

// A load whose process had gone before its name was read is known by its pid.
func TestConnectorLines(t *testing.T) {
	p := &programs{tag: "abcd"}
	p.pids.Store(77, Exec)
	count := connectorLines(p)
	for _, c := range []struct {
		line string
		kind taskwatch.Kind
		ok   bool
	}{
		{`{"event":"exec","task":{"pid":79,"tid":79,"ppid":5}}`, taskwatch.Exec, false},
		{`{"event":"exec","task":{"pid":77,"tid":77,"ppid":5}}`, taskwatch.Exec, false}, // long after the load
		{fmt.Sprintf(`{"event":"exec","task":{"pid":77,"tid":77,"ppid":%d}}`, os.Getpid()), taskwatch.Exec, true},
		{`{"event":"clone","task":{"pid":78,"tid":78,"ppid":77}}`, taskwatch.Clone, true},
		{`{"event":"exit","task":{"pid":80,"tid":80,"ppid":79}}`, taskwatch.Exit, false},
		{`{"event":"exit","task":{"pid":77,"tid":81,"ppid":5}}`, taskwatch.Exit, true}, // a thread
		{`{"event":"exit","task":{"pid":77,"tid":77,"ppid":5}}`, taskwatch.Exit, true},
		{`{"event":"exit","task":{"pid":77,"tid":82}}`, taskwatch.Exit, true},             // a thread that ended a little later
		{`{"event":"clone","task":{"pid":77,"tid":77,"ppid":5}}`, taskwatch.Clone, false}, // of somebody else
		{`{"event":"exit","task":{"pid":77,"tid":83,"ppid":5}}`, taskwatch.Exit, false},
	} {
		if load, kind, ok := count(c.line); ok != c.ok || ok && (load != Exec || kind != c.kind) {
			t.Errorf("%s: %v, %v, %t", c.line, load, kind, ok)
		}
	}
}
