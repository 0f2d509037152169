package export

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"testing"

	"github.com/taskwatch/taskwatch/sink/chrome"
)

// slice is a span as an exporter has written it.
type slice struct {
	lane       uint64
	name       string
	pid        int
	start, end int64
}

// checkSlices compares what an exporter wrote with the truth.
func checkSlices(t *testing.T, tr truth, got []slice) {
	t.Helper()
	if len(got) != len(tr.spans) {
		t.Errorf("%d slices, want %d", len(got), len(tr.spans))
	}
	type key struct {
		pid        int
		start, end int64
	}
	want := map[key]string{}
	for _, s := range tr.spans {
		want[key{s.pid, s.start, s.end}] = s.exe
	}
	lanes := map[uint64][]slice{}
	for _, s := range got {
		exe, ok := want[key{s.pid, s.start, s.end}]
		if !ok || exe != "" && path.Base(exe) != s.name {
			t.Errorf("slice %+v is not in the recording (%q)", s, exe)
		}
		lanes[s.lane] = append(lanes[s.lane], s)
	}
	// Each lane lives as long as its parent has; so there are at least as many
	// as lived at once, and not many more.
	if len(lanes) < tr.most || len(lanes) > 2*tr.most {
		t.Errorf("%d lanes for %d processes, of which %d lived at once", len(lanes), tr.processes, tr.most)
	}
	for lane, list := range lanes {
		slices.SortFunc(list, func(a, b slice) int { return cmp.Compare(a.start, b.start) })
		for i := range list[1:] {
			if list[i].end > list[i+1].start {
				t.Errorf("lane %d: %+v overlaps %+v", lane, list[i], list[i+1])
			}
		}
	}
}

func TestChrome(t *testing.T) {
	var out bytes.Buffer
	export(t, chrome.New(&out))
	tr := truthOf(t)
	var doc struct {
		TraceEvents []struct {
			Ph, Name, Cat string
			TID           uint64
			TS, Dur       json.Number
			ID            uint64
			Args          map[string]any
		}
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	var (
		list     []slice
		from, to = map[uint64]json.Number{}, map[uint64]json.Number{}
		phases   = map[string]int{}
		live     []float64
		instants = map[string]int{}
		nanos    = func(n json.Number) int64 { // "1.002" microseconds, exactly
			micro, nano, _ := bytes.Cut([]byte(n), []byte("."))
			ns, err := json.Number(append(micro, nano...)).Int64()
			if err != nil || len(nano) != 3 {
				t.Fatalf("time %q: %v", n, err)
			}
			return ns
		}
	)
	for _, e := range doc.TraceEvents {
		phases[e.Ph]++
		switch e.Ph {
		case "X":
			// The end as readers see it is that of the same time elsewhere.
			ts, err := e.TS.Float64()
			dur, err2 := e.Dur.Float64()
			end := nanos(json.Number(strconv.FormatFloat(ts+dur, 'f', 3, 64)))
			if at, err3 := strconv.ParseFloat(fmt.Sprintf("%d.%03d", end/1000, end%1000), 64); errors.Join(err, err2, err3) != nil || at != ts+dur {
				t.Errorf("%s and %s make %v, which is not %v: %v", e.TS, e.Dur, ts+dur, at, errors.Join(err, err2, err3))
			}
			list = append(list, slice{e.TID, e.Name, int(e.Args["pid"].(float64)), nanos(e.TS), end})
		case "s":
			from[e.ID] = e.TS
		case "f":
			to[e.ID] = e.TS
		case "C":
			live = append(live, e.Args["tasks"].(float64))
		case "i":
			instants[e.Cat]++
		}
	}
	checkSlices(t, tr, list)
	if len(from) != tr.forks || len(to) != tr.forks {
		t.Errorf("%d flows begin and %d end, want %d", len(from), len(to), tr.forks)
	}
	for id, ts := range from {
		if to[id] != ts {
			t.Errorf("flow %d goes from %s to %q", id, ts, to[id])
		}
	}
	if int(slices.Max(live)) != tr.most || live[len(live)-1] != 0 {
		t.Errorf("at most %v tasks live, and %v at the end, want %d and 0", slices.Max(live), live[len(live)-1], tr.most)
	}
	if instants["id"] != tr.ids || instants["exit"] != tr.failed {
		t.Errorf("instants %v, want %d changes of ids and %d failures", instants, tr.ids, tr.failed)
	}
}
