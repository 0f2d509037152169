package hub

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// peak returns the most memory that a process has had resident, in MB.
func peak(b *testing.B, p *os.Process) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == "VmHWM:" {
			kb, err := strconv.Atoi(string(f[1]))
			if err != nil {
				b.Fatal(err)
			}
			return float64(kb) / 1024
		}
	}
	b.Fatal("the kernel does not say how much memory it was")
	return 0
}

// Items a second, of all nodes, and for how many seconds: what a question must
// bring without loss.
const (
	benchRate = 20_000
	benchTime = 10
)

// Items that each node sends at once.
const benchBurst = 400

// all waits until all execs have come, or are counted as lost.
func (w *watching) all(b *testing.B, execs int) {
	b.Helper()
	eventually(b, "all items come, or are lost", func() bool {
		came, lost := w.told()
		return came+lost >= execs
	})
}

// Goroutines that write what nodes see: one alone would wait for each node in turn.
const benchWriters = 16

// flow has each node see some execs by root, at benchRate or as fast as it can. It
// returns how long that took.
func flow(b *testing.B, nodes []*testNode, from, each int) time.Duration {
	b.Helper()
	began := time.Now()
	var done sync.WaitGroup
	for part := range slices.Chunk(nodes, (len(nodes)+benchWriters-1)/benchWriters) {
		done.Go(func() {
			for i := range each {
				time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second * time.Duration(len(nodes)) / benchRate)))
				line := execLine(uint64(from+i+1), 1000+from+i, 0)
				for _, n := range part {
					if _, err := n.events.Write(line); err != nil {
						b.Error(err)
						return
					}
				}
			}
		})
	}
	done.Wait()
	return time.Since(began)
}

// burst has all nodes see some execs at once.
func burst(b *testing.B, nodes []*testNode, from, each int) {
	b.Helper()
	var done sync.WaitGroup
	for _, n := range nodes {
		done.Go(func() {
			for i := from; i < from+each; i++ {
				if _, err := n.events.Write(execLine(uint64(i+1), 1000+i, 0)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	done.Wait()
}

// What a fleet costs: how long an entry takes to all nodes, and a question to be
// answered by all; how many items a second of a steady flow the nodes see, and how
// long after the last one all have come, without loss; how many come in a second of
// 400 that each node sends at once; and the memory of the hub. The nodes are daemons
// in this process.
func BenchmarkFleet(b *testing.B) {
	file := counterModule(b)
	nodes := testutil.Size(10, 50, 1000)
	b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
		h := startProgram(b)
		tm := newTeam(b, h.running)
		var all []*testNode
		for i := range nodes {
			all = append(all, newNode(b, h.running, tm.keys, fmt.Sprintf("n%d", i), nil))
		}
		tm.reported(b, nodes)
		var load, ask, seen, behind, bursts time.Duration
		items, lost := 0, 0
		each := benchRate * benchTime / nodes
		for i := 0; b.Loop(); i++ {
			began := time.Now()
			o := tm.want(b, &fleet.Entry{Module: "count", Params: map[string]string{"uid": strconv.Itoa(i + 1)}}, file)
			load += time.Since(began)
			if len(o.Done) != nodes || len(o.Failed()) > 0 {
				b.Fatalf("%d of %d nodes have followed, %d have failed", len(o.Done), nodes, len(o.Failed()))
			}
			began = time.Now()
			w := tm.watch(b, `kind == "exec" && uid == 0`, "", time.Minute)
			lines := func() (n int) {
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, l := range w.lines {
					n += len(l)
				}
				return n
			}
			eventually(b, "all nodes begin", func() bool { return lines() == nodes })
			ask += time.Since(began)
			first := i * (each + benchBurst)
			seen += flow(b, all, first, each)
			began = time.Now()
			w.all(b, nodes*each)
			behind += time.Since(began)
			items += nodes * each
			if _, n := w.told(); n > 0 || w.troubles() != "" {
				b.Fatalf("of %d items, %d were lost, trouble %q\n%s", nodes*each, n, w.troubles(), h.log.String())
			}
			began = time.Now()
			burst(b, all, first+each, benchBurst)
			w.all(b, nodes*(each+benchBurst))
			bursts += time.Since(began)
			_, n := w.told()
			lost += n
			w.end(b)
		}
		b.ReportMetric(load.Seconds()/float64(b.N), "s/insmod")
		b.ReportMetric(ask.Seconds()/float64(b.N), "s/question")
		b.ReportMetric(float64(items)/seen.Seconds(), "items/s")
		b.ReportMetric(behind.Seconds()/float64(b.N), "s-behind")
		b.ReportMetric(float64(b.N*nodes*benchBurst)/bursts.Seconds(), "items/s-burst")
		b.ReportMetric(float64(lost)/float64(b.N), "lost/burst")
		b.ReportMetric(peak(b, h.cmd.Process), "MB-hub")
		b.ReportMetric(0, "ns/op")
	})
}
