package ptrace_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// benchRounds is how often each of the three is run, in turns.
const benchRounds = 15

// BenchmarkAgainstStrace measures what supervision adds to the life of one
// task, for three loads: bare, under strace tracing the same calls, and under
// this source recording every event as JSON. The three take turns, so that a
// change in the machine's speed meets all; the figures are medians, the
// spread is the distance of the quartiles.
//
//	go test -run '^$' -bench AgainstStrace -benchtime 1x ./source/ptrace
func BenchmarkAgainstStrace(b *testing.B) {
	strace := testutil.RequireTool(b, "strace")
	load := testutil.BuildC(b, "testdata/load.c", "-O2", "-pthread")
	out := filepath.Join(b.TempDir(), "ns")
	for _, l := range []struct {
		name string
		n    int
	}{{"fork", 1000}, {"exec", 500}, {"thread", 2000}} {
		b.Run(l.name, func(b *testing.B) {
			argv := []string{load, l.name, strconv.Itoa(l.n), out}
			runs := [3]func() error{
				func() error { return exec.Command(argv[0], argv[1:]...).Run() },
				func() error {
					under := []string{"-f", "--seccomp-bpf", "-e", "trace=process,%creds", "-o", os.DevNull}
					return exec.Command(strace, append(under, argv...)...).Run()
				},
				func() error { return recordRun(argv) },
			}
			var ns [3][]float64
			for b.Loop() {
				for range benchRounds {
					for i, run := range runs {
						if err := run(); err != nil {
							b.Fatal(err)
						}
						ns[i] = append(ns[i], readNS(b, out))
					}
				}
			}
			bare, withStrace, with := median(ns[0]), median(ns[1]), median(ns[2])
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(bare, "bare-ns")
			b.ReportMetric(withStrace-bare, "strace-adds-ns")
			b.ReportMetric(with-bare, "taskwatch-adds-ns")
			b.ReportMetric(spread(ns[1]), "strace-spread-ns")
			b.ReportMetric(spread(ns[2]), "taskwatch-spread-ns")
			b.ReportMetric((with-bare)/(withStrace-bare), "taskwatch/strace")
		})
	}
}

// recordRun runs a command under the source and records all its events.
func recordRun(argv []string) error { return recordFields(argv, 0) }

func readNS(b *testing.B, file string) float64 {
	b.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	ns, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
	if err != nil {
		b.Fatal(err)
	}
	return ns
}

func median(list []float64) float64 { return quantile(list, 2) }

func spread(list []float64) float64 { return quantile(list, 3) - quantile(list, 1) }

func quantile(list []float64, quarter int) float64 {
	list = slices.Clone(list)
	slices.Sort(list)
	return list[(len(list)-1)*quarter/4]
}
