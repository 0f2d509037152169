package bpf

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Both forms of the kernel side have the same names, so that a form which this
// kernel does not need is not forgotten.
func TestFormsHaveTheSameNames(t *testing.T) {
	names := func(object []byte) []string {
		spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(object))
		if err != nil {
			t.Fatal(err)
		}
		delete(spec.Variables, streamVarNumberType)
		all := append(slices.Sorted(maps.Keys(spec.Programs)), slices.Sorted(maps.Keys(spec.Maps))...)
		return append(all, slices.Sorted(maps.Keys(spec.Variables))...)
	}
	loads, probes := names(_StreamBytes), names(probingStream)
	if !slices.Equal(loads, probes) || len(loads) == 0 {
		t.Errorf("one has %v\nthe other %v", loads, probes)
	}
}

// The form for older kernels works on newer ones, too.
func TestProbingForm(t *testing.T) {
	defer func(before uint32) { castsSince = before }(castsSince)
	castsSince = math.MaxUint32
	n := testutil.Size(100, 300, 1000)
	load := testutil.BuildC(t, "testdata/load.c")
	cfg := Config{Command: command(t, "exec", strconv.Itoa(n))}
	cfg.Command.Dir = t.TempDir()
	events := newWatch(t, cfg, taskwatch.AllKinds, nil).wait(t)
	if got := count(events)[taskwatch.Exec]; got != n+1 {
		t.Errorf("%d execs, want %d", got, n+1)
	}
	for _, ev := range events {
		switch ev.Kind {
		case taskwatch.Exit, taskwatch.Clone:
			if ev.Task.Exe != load || ev.Task.Cwd != cfg.Command.Dir || ev.Missing.Has(taskwatch.FieldCwd|taskwatch.FieldCgroup) {
				t.Fatalf("%s of %+v, missing %v", ev.Kind, ev.Task, ev.Missing)
			}
		}
	}
}
