package gobench

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// output is what a test binary prints.
const output = `goos: linux
BenchmarkDecode-2   	57411146	        20.94 ns/op	       0 B/op	       0 allocs/op
BenchmarkDecode-2   	57411146	        22.00 ns/op	       9 B/op	       3 allocs/op
BenchmarkNotify/watchers=8/notify-2         	 1	 98 ns/op	 250 MB/s	 16 B/op	 1 allocs/op
PASS
`

func TestAdd(t *testing.T) {
	r := Results{}
	if err := r.Add("record", []byte(output)); err != nil {
		t.Fatal(err)
	}
	want := Results{
		"record Decode":                   {NS: []float64{20.94, 22}, Allocs: 0},
		"record Notify/watchers=8/notify": {NS: []float64{98}, Allocs: 1},
	}
	if !maps.EqualFunc(r, want, func(a, b *Figures) bool { return slices.Equal(a.NS, b.NS) && a.Allocs == b.Allocs }) {
		t.Errorf("got %v, want %v", r, want)
	}
	for _, line := range []string{"BenchmarkX-2 1 98 ns/op", "BenchmarkX-2 1 fast ns/op 0 allocs/op"} {
		if err := r.Add("record", []byte(line)); err == nil || !strings.Contains(err.Error(), "BenchmarkX") {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func TestCompare(t *testing.T) {
	of := func(allocs int64, ns ...float64) Results { return Results{"x": {NS: ns, Allocs: allocs}} }
	for _, c := range []struct {
		why           string
		before, after Results
		says          string
		worse         bool
	}{
		{"the same", of(2, 10, 11, 12), of(2, 10, 11, 12), "11.0 ns, before 11.0 (1.00 times as long); 2 allocations", false},
		{"an allocation more", of(0, 10), of(1, 5), "1 allocation, before 0: it allocates more", true},
		{"an allocation less", of(1, 10), of(0, 10), "0 allocations, before 1", false},
		{"slower", of(0, 10, 10, 10), of(0, 10, 90, 95), "(9.00 times as long)", false},
		{"new", Results{}, of(3, 10), "3 allocations; it was not there before", false},
		{"gone", of(3, 10), Results{}, "it is gone", true},
	} {
		got := Compare(c.before, c.after)
		if len(got) != 1 || got[0].Name != "x" || got[0].Worse != c.worse || !strings.Contains(got[0].Text, c.says) {
			t.Errorf("%s: got %+v, want %q and worse %t", c.why, got, c.says, c.worse)
		}
	}
}
