package bench

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Every stock module of the kernel is measured, and does something.
func TestStock(t *testing.T) {
	testutil.Root(t)
	testutil.Nightly(t) // each module is loaded several times
	cfg := testConfig()
	cfg.Limit = 1 // one round
	cfg.Source = t.TempDir()
	for name, text := range map[string]string{
		"configure": "echo 'CFLAGS=-O0' >flags\n",
		"Makefile":  "include flags\nlibz.a: a.o\n\t$(AR) rc $@ $^\nclean:\n\trm -f *.o *.a\n",
		"a.c":       "int a;\n",
	} {
		if err := os.WriteFile(filepath.Join(cfg.Source, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	alone, results, sandbox, err := measureStock(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if sandbox.Module != execRule || sandbox.Missing != "" || sandbox.Pairs != 1 || sandbox.AloneNS <= 0 || sandbox.Exec.Median <= 0 {
		t.Errorf("in the sandbox: %+v", sandbox)
	}
	if alone.ForkNS <= 0 || alone.ExecNS <= 0 || alone.CloneNS <= 0 || (alone.BuildNS > 0) == (alone.NoBuild != "") {
		t.Errorf("alone: %+v", alone)
	}
	want := []string{Control}
	for _, name := range kernelModules() {
		switch want = append(want, name); name {
		case ruled:
			want = append(want, ruled+", of another user")
		case unheard:
			want = append(want, unheard+", while nobody listens")
		}
	}
	want = append(want, allQuiet, allTogether)
	var names []string
	for _, r := range results {
		names = append(names, r.Modules)
		pairs := 1
		if r.Modules == allTogether {
			pairs = 5 // after every third other row
		}
		switch {
		case r.Missing != "", r.Pairs != pairs, r.Fork.Median <= 0, r.Exec.Median <= 0, r.Clone.Median <= 0:
			t.Errorf("%+v, want %d pairs", r, pairs)
		case alone.NoBuild == "" && (r.Builds != pairs || r.Build.Median <= 0):
			t.Errorf("%+v, want %d builds", r, pairs)
		case r.Modules != Control && (r.ForkBPFNS <= 0 || r.CloneBPFNS <= 0) && r.Modules != "execguard",
			r.Modules != Control && r.ChildBPFNS <= 0:
			t.Errorf("%s took no time: %+v", r.Modules, r)
		}
	}
	if !slices.Equal(names, want) {
		t.Errorf("rows %q, want %q", names, want)
	}
	text := stockText(&alone, results, &sandbox, time.Unix(0, 0))
	lines := strings.Split(text, "\n")
	for _, line := range lines[:len(names)+3] {
		if strings.Count(line, "|") != strings.Count(lines[0], "|") {
			t.Errorf("a row with other columns than the head: %s", line)
		}
	}
	if !strings.Contains(text, "1970-01-01") || !strings.Contains(text, "1 to 5 pairs") {
		t.Errorf("the table does not say when and how often:\n%s", text)
	}
}

// A row that cannot be measured says why, and a build that has failed is no
// figure.
func TestStockNamesWhatFails(t *testing.T) {
	cfg := &Config{Limit: 1}
	rows := []*stockRow{
		{w: &Watcher{Name: "fails"}, result: stockResult{Modules: "fails"}},
		{w: &Watcher{Name: "works"}, result: stockResult{Modules: "works"}},
	}
	var compared []int
	measure := func(r *stockRow) (int, error) {
		switch {
		case r == nil:
			return 2, nil
		case r.w.Name == "fails":
			return 0, errors.New("no\nsuch thing")
		}
		return 3, nil
	}
	err := turns(t.Context(), cfg, rows, 1, measure, func(r *stockRow, before, with, after int) {
		compared = append(compared, before, with, after)
	})
	if err != nil || rows[0].result.Missing != "no such thing" || !slices.Equal(compared, []int{2, 3, 2}) {
		t.Errorf("missing %q, compared %v, %v", rows[0].result.Missing, compared, err)
	}
	text := stockText(&aloneResult{ForkNS: 1e3, ExecNS: 1e3, CloneNS: 1e3, NoBuild: "cc is not installed"}, []stockResult{rows[0].result},
		&sandboxResult{Module: execRule, Missing: "no ptrace"}, time.Now())
	for _, want := range []string{"execrule was not measured: no ptrace.", "| fails | not measured: no such thing |", "| not measured: cc is not installed |", "| 1000000 a second |"} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
}

func TestIntervalsOf95Percent(t *testing.T) {
	// The ranks of the ends are those of the sign test's tables.
	for n, rank := range map[int]int{1: 1, 5: 1, 6: 1, 8: 1, 9: 2, 10: 2, 12: 3, 15: 4, 20: 6, 25: 8, 50: 18} {
		var list []float64
		for i := range n {
			list = append(list, float64(n-i))
		}
		i := intervalAt(list, 0.95)
		if i.Low != float64(rank) || i.High != float64(n-rank+1) {
			t.Errorf("%d measurements: %+v, want %d to %d", n, i, rank, n-rank+1)
		}
	}
	if i := intervalAt(nil, 0.95); i != (Interval{}) {
		t.Errorf("of nothing: %+v", i)
	}
}

// BenchmarkStock prints the table of the stock modules, also in a guest. With
// -short it takes three minutes.
func BenchmarkStock(b *testing.B) {
	testutil.Root(b)
	cfg := Config{Self: []string{"/proc/self/exe", childArg}}
	if testing.Short() {
		cfg.Limit = 3 * time.Minute
	}
	for b.Loop() {
		table, err := MakeTable(b.Context(), cfg, "stock")
		if err != nil {
			b.Fatal(err)
		}
		b.Logf("\n%s", table.Text)
	}
	b.ReportMetric(0, "ns/op")
}
