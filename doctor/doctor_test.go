package doctor

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == ChildCommand {
		Child(os.Args[2])
		return
	}
	testutil.Main(m)
}

// TestExamine writes the diagnosis to the file that TASKWATCH_DIAGNOSIS names,
// if any: the kernel matrix makes the table in README of it.
func TestExamine(t *testing.T) {
	testutil.Root(t)
	d := Examine(t.Context())
	if err := d.Err(); err != nil {
		t.Error(err)
	}
	works := map[string]bool{}
	for _, s := range d.Sources {
		works[s.Name] = s.Works
		t.Logf("%+v", s)
	}
	// Everybody can trace a command of his own, and root has the other sources
	// where the kernel has what they need.
	has := func(fs ...*features.Feature) bool {
		return !slices.ContainsFunc(fs, func(f *features.Feature) bool { return f.Probe().Answer != features.Yes })
	}
	bpf, connector := has(features.BTF, features.BPF, features.RingBuffer, features.TaskIter, features.TracepointBTF), has(features.Connector)
	if len(works) != 3 || !works["ptrace"] || works["bpf"] != bpf || works["connector"] != connector {
		t.Errorf("the sources are %v, and what they need is there for bpf %v, for connector %v", works, bpf, connector)
	}
	if file := os.Getenv("TASKWATCH_DIAGNOSIS"); file != "" {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
