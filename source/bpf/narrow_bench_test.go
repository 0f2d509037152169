package bpf

import (
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// BenchmarkNarrow measures what a storm of others costs a reader that wants one
// user's tasks, or those of a name or a cgroup, of which there are none: its CPU
// time for each event of the storm, and the rate of the storm as a part of that
// when nothing watches. "all" could be narrowed, and is not. The ways take turns;
// the figures are medians.
//
//	go test -run '^$' -bench Narrow -benchtime 9x ./source/bpf
func BenchmarkNarrow(b *testing.B) {
	const children = 5000
	const events = 4 * children // init, clone, exit, free
	ways := []struct {
		name   string
		watch  bool
		narrow bool
		only   taskwatch.Only
	}{
		{name: "nothing"},
		{"narrow", true, true, taskwatch.Only{UIDs: []uint32{4244}}},
		{"comm", true, true, taskwatch.Only{Comms: []string{"nobody"}}},
		{"cgroup", true, true, taskwatch.Only{CgroupIDs: []uint64{1 << 40}}},
		{"all", true, true, taskwatch.Only{}},
		{"wide", true, false, taskwatch.Only{}},
	}
	program := testutil.BuildC(b, "testdata/load.c")
	cpu, took := make([][]float64, len(ways)), make([][]float64, len(ways))
	for b.Loop() {
		for i, way := range ways {
			stop := func() {}
			if way.watch {
				sink := &narrowed{kinds: taskwatch.AllKinds, only: way.only, keep: func(*taskwatch.Event) bool { return false }}
				_, _, stop = sink.start(b, Config{Narrow: way.narrow})
			}
			before, start := cpuTime(b), time.Now()
			if err := exec.Command(program, "fork", strconv.Itoa(children)).Run(); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], float64(time.Since(start)))
			cpu[i] = append(cpu[i], float64((cpuTime(b)-before).Nanoseconds())/1000/events)
			stop()
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, way := range ways {
		slices.Sort(cpu[i])
		slices.Sort(took[i])
		b.ReportMetric(cpu[i][len(cpu[i])/2], way.name+"-us/event")
		b.ReportMetric(took[0][len(took[0])/2]/took[i][len(took[i])/2], way.name+"-rate")
	}
}

// cpuTime returns the CPU time of this process.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
