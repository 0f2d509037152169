package hub

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
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
	benchTime = 5
)

// flow has each node see some execs by root, at benchRate or as fast as it can.
func (tm *team) flow(b *testing.B, nodes []*testNode, from, each int) {
	b.Helper()
	const ticks = 20 // a second
	tick := time.NewTicker(time.Second / ticks)
	defer tick.Stop()
	for done, n := 0, 0; done < each; {
		<-tick.C
		n++
		until := min(each, n*benchRate/ticks/len(nodes))
		for _, node := range nodes {
			runs(b, from+done, from+until, node)
		}
		done = max(done, until)
	}
}

// What a fleet costs: how long an entry takes to all nodes, and a question to be
// answered by all; how many items come in a second, without loss; and the memory
// of the hub. The nodes are daemons in this process.
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
		var load, ask, flow time.Duration
		items := 0
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
			began = time.Now()
			tm.flow(b, all, i*each, each)
			eventually(b, "all items come, or are lost", func() bool { return lines()+w.missing() >= nodes*(each+1) })
			flow += time.Since(began)
			items += nodes * each
			w.end(b)
			if w.missing() > 0 || w.troubles() != "" {
				b.Fatalf("of %d items, %d were lost, trouble %q\n%s", nodes*each, w.missing(), w.troubles(), h.log.String())
			}
		}
		b.ReportMetric(load.Seconds()/float64(b.N), "s/insmod")
		b.ReportMetric(ask.Seconds()/float64(b.N), "s/question")
		b.ReportMetric(float64(items)/flow.Seconds(), "items/s")
		b.ReportMetric(peak(b, h.cmd.Process), "MB-hub")
		b.ReportMetric(0, "ns/op")
	})
}
