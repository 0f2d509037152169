package ptrace_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// BenchmarkOptionalFields measures what optional fields add to the life of a
// process, which runs one program: fork, exec and exit. The sets take turns; the
// figures are the medians of 7 runs of 100 processes.
//
//	go test -run '^$' -bench OptionalFields -benchtime 1x ./source/ptrace
func BenchmarkOptionalFields(b *testing.B) {
	load := testutil.BuildC(b, "testdata/load.c", "-O2", "-pthread")
	out := b.TempDir() + "/ns"
	sets := []string{"comm", "auid", "tty", "caps.effective", "groups", "ns", "exe_ino", "exe_host", "caps.secure", "cgroup_id", "env", "caps.gained", "all"}
	ns := make([][]float64, len(sets))
	for b.Loop() {
		for range 7 {
			for i, set := range sets {
				fields, err := taskwatch.ParseFields(set)
				if err != nil {
					b.Fatal(err)
				}
				if err := recordFields([]string{load, "exec", strconv.Itoa(100), out}, fields&taskwatch.OptionalFields); err != nil {
					b.Fatal(err)
				}
				ns[i] = append(ns[i], readNS(b, out))
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	none := median(ns[0])
	b.ReportMetric(none, "none-ns")
	for i, set := range sets[1:] {
		b.ReportMetric(median(ns[i+1])-none, set+"-adds-ns")
	}
}

// recordFields runs a command under the source and records its events with some
// optional fields.
func recordFields(argv []string, fields taskwatch.Fields) error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	wants := taskwatch.WantAll(taskwatch.AllKinds)
	for k := range wants {
		wants[k] |= fields & taskwatch.OptionalOf(k)
	}
	var reg taskwatch.Registry
	w := taskwatch.NewQueue(record.NewWriter(null, wants), taskwatch.QueueOptions{Block: true}) // as run -o does
	if err := reg.Attach(w); err != nil {
		return err
	}
	s, err := ptrace.New(ptrace.Config{Command: &source.Command{Path: argv[0], Argv: argv}})
	if err != nil {
		return err
	}
	if err := s.Run(context.Background(), &reg); err != nil {
		return err
	}
	if e := s.Exit(); e.Code != 0 || e.Signal != 0 {
		return fmt.Errorf("%q ended with %+v", argv, e)
	}
	return reg.Detach(context.Background(), w)
}
