package bpf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch"
)

// BenchmarkOptionalFields measures how long the programs in the kernel run for
// the life of a process, which runs one program: fork, exec, exit and free. The
// sets of fields take turns; the figures are medians.
//
//	go test -run '^$' -bench OptionalFields -benchtime 9x ./source/bpf
func BenchmarkOptionalFields(b *testing.B) {
	stats, err := ebpf.EnableStats(0)
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	sets := []struct {
		name   string
		fields taskwatch.Fields
	}{
		{"default", taskwatch.DefaultFields},
		{"without-cwd", taskwatch.DefaultFields &^ taskwatch.FieldCwd},
		{"cgroup_id", taskwatch.DefaultFields | taskwatch.FieldCgroupID},
		{"nice", taskwatch.DefaultFields | taskwatch.FieldNice}, // and all that come with it
		{"exe_host", taskwatch.DefaultFields | taskwatch.FieldExeHost},
		{"env", taskwatch.DefaultFields | taskwatch.FieldEnv},
		{"caps.gained", taskwatch.DefaultFields | taskwatch.FieldCapsGained},
		{"all", taskwatch.AllFields},
	}
	const n = 300
	c := command(b, "exec", fmt.Sprint(n))
	ns := make([][]float64, len(sets))
	for b.Loop() {
		for i, set := range sets {
			w := newWatchOf(b, Config{PID: os.Getpid()}, taskwatch.AllKinds, set.fields, nil, func(*taskwatch.Event) bool { return false })
			before := runTime(b)
			if err := exec.Command(c.Path, c.Argv[1:]...).Run(); err != nil {
				b.Fatal(err)
			}
			ns[i] = append(ns[i], float64(runTime(b)-before)/n)
			w.stop(b)
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, set := range sets {
		slices.Sort(ns[i])
		b.ReportMetric(ns[i][len(ns[i])/2], set.name+"-ns")
	}
}

// runTime returns how long the programs that this process has, or has links to,
// have run so far, in nanoseconds.
func runTime(b *testing.B) (ns uint64) {
	files, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		b.Fatal(err)
	}
	seen := map[ebpf.ProgramID]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it was that of the directory
		}
		_, rest, has := strings.Cut(string(text), "prog_id:\t")
		var id ebpf.ProgramID
		if _, err := fmt.Sscan(rest, &id); !has || err != nil || seen[id] {
			continue
		}
		seen[id] = true
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			b.Fatal(err)
		}
		st, err := p.Stats()
		if err != nil {
			b.Fatal(err)
		}
		ns += uint64(st.Runtime)
		p.Close()
	}
	return ns
}
