package export

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/sink/html"
)

// between returns what stands between two texts, the first of which is there
// once.
func between(t *testing.T, text, from, to string) string {
	t.Helper()
	if n := strings.Count(text, from); n != 1 {
		t.Fatalf("%q stands there %d times", from, n)
	}
	_, rest, _ := strings.Cut(text, from)
	inner, _, ok := strings.Cut(rest, to)
	if !ok {
		t.Fatalf("%q has no end", from)
	}
	return inner
}

// dataOf returns the data of a page.
func dataOf(t *testing.T, page string) string {
	t.Helper()
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, strings.NewReader(between(t, page, `id="data">`, "<"))))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// micros reads a time in microseconds, to the nanosecond.
func micros(t *testing.T, s string) int64 {
	t.Helper()
	whole, part, _ := strings.Cut(s, ".")
	us, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || part != "" && len(part) != 3 {
		t.Fatalf("time %q", s)
	}
	ns, _ := strconv.ParseInt(part, 10, 64)
	return us*1000 + ns
}

// What has come is in the file while the run goes on.
func TestHTMLBeforeItsEnd(t *testing.T) {
	var out bytes.Buffer
	sink := html.New(&out, nil)
	if !strings.HasSuffix(out.String(), `id="data">`) {
		t.Fatalf("the file of a run that has just begun ends with %q", out.String()[max(0, out.Len()-60):])
	}
	empty := out.Len()
	take(t, sink)
	data := out.Bytes()[empty:]
	z, err := gzip.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data[:len(data)/4*4])))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != io.ErrUnexpectedEOF {
		t.Errorf("the data ends with %v, want to be cut off", err)
	}
	if begun, want := bytes.Count(text, []byte("\nB ")), len(truthOf(t).spans); begun < want*3/4 {
		t.Errorf("%d programs of %d are in the file before its end", begun, want)
	}
	if err := sink.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestHTML(t *testing.T) {
	var out bytes.Buffer
	export(t, html.New(&out, nil))
	tr := truthOf(t)
	page := out.String()

	// The policy names the script and the style, and no other place.
	for tag, directive := range map[string]string{"script": "script-src", "style": "style-src"} {
		sum := sha256.Sum256([]byte(between(t, page, "<"+tag+">", "</"+tag+">")))
		if want := fmt.Sprintf("%s 'sha256-%s';", directive, base64.StdEncoding.EncodeToString(sum[:])); !strings.Contains(page, want) {
			t.Errorf("the policy lacks %q", want)
		}
	}
	for _, bad := range []string{"http:", "https:", "import ", "export ", "unsafe-", "innerHTML"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}

	text := dataOf(t, page)
	var (
		names    []string
		list     []slice
		parents  []int
		how      = map[string]int{}
		status   = map[string]int{}
		cpu      int64
		start    int64
		path0    int64 // end of the critical path
		instants = map[string]int{}
		last     int64
	)
	for line := range strings.Lines(text) {
		head, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		f := strings.Fields(head)
		num := func(i int) int {
			n, err := strconv.Atoi(f[i])
			if err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			return n
		}
		var details struct {
			MonoNS         int64 `json:"mono_ns"`
			Status         string
			Name, Category string
			Argv           []string
		}
		if rest != "" && f[0] != "N" {
			if err := json.Unmarshal([]byte(rest), &details); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
		}
		switch f[0] {
		case "H":
			start = details.MonoNS
		case "N":
			var name string
			if err := json.Unmarshal([]byte(rest), &name); err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		case "B":
			name := path.Base(names[num(5)])
			list = append(list, slice{uint64(num(1)), name, num(4), start + micros(t, f[2]), -1})
			parents = append(parents, num(3))
			how["begin "+f[6]]++
		case "E":
			list[num(1)].end = start + micros(t, f[2])
			last = max(last, micros(t, f[2]))
			cpu += int64(max(num(3), 0) + max(num(4), 0))
			how["end "+f[6]]++
			status[details.Status]++
		case "I":
			instants[details.Category]++
		case "C":
			if from := micros(t, f[1]); from != path0 {
				t.Errorf("a step of the critical path begins at %d, the one before ended at %d", from, path0)
			}
			path0 = micros(t, f[2])
		}
	}
	checkSlices(t, tr, list)
	if path0 != last {
		t.Errorf("the critical path ends at %d, the last process at %d", path0, last)
	}
	if diff := tr.cpuNS/1000 - cpu; diff < 0 || diff > int64(2*len(list)) {
		t.Errorf("%d µs of CPU time, want %d", cpu, tr.cpuNS/1000)
	}
	if births := how["begin 0"] + how["begin 1"]; births != tr.processes || how["end 2"] != how["begin 2"] || how["end 1"] != tr.failed || how["end 3"] != 0 {
		t.Errorf("slices %v, want %d processes, %d failed, none that runs on", how, tr.processes, tr.failed)
	}
	if status["exit 0"] != tr.processes-tr.failed || instants["id"] != tr.ids {
		t.Errorf("statuses %v and instants %v, want %d processes, %d failed, and %d changes of ids", status, instants, tr.processes, tr.failed, tr.ids)
	}
	if roots := slices.IndexFunc(parents[1:], func(p int) bool { return p < 0 }); parents[0] != -1 || roots >= 0 {
		t.Errorf("parents %v, want that of the first alone to be unknown", parents)
	}
}
