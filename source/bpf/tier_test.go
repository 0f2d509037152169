package bpf

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// Kernels differ in what they let BPF hook. What one has that others lack is
// turned off, one after the other; all must tell the same.
func TestEveryTier(t *testing.T) {
	testutil.Root(t)
	found, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { probe = probed }()
	off := errors.New("turned off for a test")
	s := *found
	for _, tier := range []struct {
		name string
		best *error // what it is best by
	}{{"LSM", &s.LSM}, {"fmod_ret", &s.ModifyReturn}, {"fentry", &s.FEntry}, {"tracepoints", new(error)}} {
		if *tier.best != nil {
			continue
		}
		support := s
		*tier.best = off
		t.Run(tier.name, func(t *testing.T) {
			probe = func() (*kernel.Support, error) { return &support, nil }
			testTier(t)
		})
		if testing.Short() && found.LSM != nil {
			t.Log("short: the best tier; where LSM programs run, all are tried")
			break
		}
	}
}

func testTier(t *testing.T) {
	const n = 50
	for _, c := range []struct {
		load string
		want [taskwatch.NumKinds]int
	}{
		{"exec", [...]int{n, n, n + 1, 0, 0, n + 1, n + 1}},
		{"ids", [...]int{0, 0, 1, n / 2, n / 2, 1, 1}},
	} {
		w := newWatch(t, Config{Command: command(t, c.load, strconv.Itoa(n)), Latency: DefaultLatency}, taskwatch.AllKinds, nil)
		if got := count(w.wait(t)); got != c.want {
			t.Errorf("load %s: got %v events, want %v", c.load, got, c.want)
		}
	}
	// The same for processes that somebody else has started.
	w := newWatch(t, Config{PID: os.Getpid()}, taskwatch.AllKinds, nil)
	cmd := exec.Command(testutil.BuildC(t, "testdata/load.c"), "ids", strconv.Itoa(n))
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var got [taskwatch.NumKinds]int
	for _, ev := range w.stop(t) {
		if ev.Task.PID == cmd.Process.Pid {
			got[ev.Kind]++
		}
	}
	got[taskwatch.Free] = 0 // may come later
	if want := [...]int{0, 1, 1, n / 2, n / 2, 1, 0}; got != want {
		t.Errorf("somebody's load ids: got %v events, want %v", got, want)
	}
}
