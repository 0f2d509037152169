package export

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/sink/chrome"
	"github.com/taskwatch/taskwatch/sink/folded"
)

//go:embed testdata/speedscope.cjs
var speedscope []byte

// needsNPM is for tests that ask software which comes by npm.
func needsNPM(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		testutil.Require(t, testutil.Need{
			What: "the tool " + tool, Remedy: "install Node.js with npm",
			Met: func() bool { _, err := exec.LookPath(tool); return err == nil },
		})
	}
}

// speedscope's own importer reads both formats without a complaint: one
// profile for each lane, in which all slices have their names and times, and
// the weights of the stacks.
func TestSpeedscope(t *testing.T) {
	testutil.Nightly(t)
	needsNPM(t)
	dir := t.TempDir()
	run := func(name string, args ...string) []byte {
		t.Helper()
		var stderr bytes.Buffer
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Stderr = dir, &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, stderr.Bytes())
		}
		if name == "node" && stderr.Len() > 0 {
			t.Errorf("speedscope complains: %.2000s", stderr.Bytes())
		}
		return out
	}
	run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "speedscope@1")
	if err := os.WriteFile(filepath.Join(dir, "speedscope.cjs"), speedscope, 0o644); err != nil {
		t.Fatal(err)
	}
	write := func(name string, sink func(io.Writer) taskwatch.Sink) {
		t.Helper()
		var out bytes.Buffer
		export(t, sink(&out))
		if err := os.WriteFile(filepath.Join(dir, name), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("b.trace.json", func(w io.Writer) taskwatch.Sink { return chrome.New(w) })
	write("b.folded", func(w io.Writer) taskwatch.Sink { return folded.New(w, folded.CPU) })
	tr := truthOf(t)

	type profile struct {
		Name   string
		Weight float64
		Frames []struct {
			Name       string
			Start, End float64 // from the beginning of the profile, in microseconds
		}
	}
	read := func(name string) (list []profile) {
		t.Helper()
		if err := json.Unmarshal(run("node", "speedscope.cjs", name), &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	// Times are those of the recording to the microsecond: the reader rounds.
	want := map[string]int{}
	for _, s := range tr.spans {
		if s.end > s.start {
			want[fmt.Sprintf("pid %d for %d us", s.pid, (s.end-s.start+500)/1000)]++
		}
	}
	frames := 0
	profiles := read("b.trace.json")
	for _, p := range profiles {
		for _, f := range p.Frames {
			name, args, _ := strings.Cut(f.Name, " {")
			var slice struct{ PID int }
			if err := json.Unmarshal([]byte("{"+args), &slice); err != nil || name == "" {
				t.Fatalf("frame %q: %v", f.Name, err)
			}
			frames++
			us := int(f.End - f.Start + 0.5)
			found := false
			for _, n := range []int{us, us - 1, us + 1} {
				if key := fmt.Sprintf("pid %d for %d us", slice.PID, n); !found && want[key] > 0 {
					want[key]--
					found = true
				}
			}
			if !found {
				t.Errorf("%s: frame %.60q lasts %v us, which is no slice's time", p.Name, f.Name, f.End-f.Start)
			}
		}
	}
	if len(profiles) < tr.most || frames != len(tr.spans) {
		t.Errorf("%d profiles with %d frames, want %d lanes at least and %d slices", len(profiles), frames, tr.most, len(tr.spans))
	}
	var sum float64
	for _, p := range read("b.folded") {
		sum += p.Weight
	}
	if cpu := float64(tr.cpuNS / 1000); sum > cpu || sum < cpu-1000 {
		t.Errorf("the stacks weigh %v us, want %v", sum, cpu)
	}
}
