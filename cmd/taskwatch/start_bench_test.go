package main

import (
	"bytes"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/bench"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// BenchmarkStart measures what run adds to a command that ends at once: until it
// begins, until all is over, and how much CPU time that takes, with both sources.
// "nothing" is taskwatch that only says its version, and alone is the command
// without it. The ways take turns; each figure is a median in milliseconds, and
// -low and -high are its quartiles. It needs root.
//
//	go test -run '^$' -bench Start -benchtime 25x ./cmd/taskwatch
func BenchmarkStart(b *testing.B) {
	testutil.Root(b)
	clock := testutil.BuildC(b, "testdata/clock.c", "-O2", "-static")
	run := []string{binary(b), "run", "-o", "/dev/null"}
	ways := []struct {
		name string
		argv []string
	}{
		{"alone", []string{clock}},
		{"nothing", []string{binary(b), "version"}},
		{"bpf", append(run, "--source", "bpf", "--", clock)},
		{"ptrace", append(run, "--source", "ptrace", "--", clock)},
	}
	type figures struct{ begins, all, cpu []float64 }
	of := make([]figures, len(ways))
	for b.Loop() {
		for i, w := range ways {
			c := exec.Command(w.argv[0], w.argv[1:]...)
			var out, said bytes.Buffer
			c.Stdout, c.Stderr = &out, &said
			from := monotonic(b)
			err := c.Run()
			to := monotonic(b)
			if err != nil {
				b.Fatalf("%s: %v\n%s", c, err, said.Bytes())
			}
			of[i].all = append(of[i].all, ms(to-from))
			of[i].cpu = append(of[i].cpu, ms(int64(c.ProcessState.UserTime()+c.ProcessState.SystemTime())))
			if w.name == "nothing" {
				continue
			}
			at, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
			if err != nil {
				b.Fatalf("%s: %v", c, err)
			}
			of[i].begins = append(of[i].begins, ms(at-from))
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, w := range ways {
		report := func(what string, values []float64) {
			s := bench.SpreadOf(values)
			b.ReportMetric(s.Median, w.name+what)
			b.ReportMetric(s.Low, w.name+what+"-low")
			b.ReportMetric(s.High, w.name+what+"-high")
		}
		report("-ms", of[i].all)
		report("-cpu-ms", of[i].cpu)
		if of[i].begins != nil {
			report("-begins-ms", of[i].begins)
		}
	}
}

// monotonic reads the clock that testdata/clock.c reads.
func monotonic(b *testing.B) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		b.Fatal(err)
	}
	return ts.Nano()
}

func ms(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }
