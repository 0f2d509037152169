package connector

import "github.com/taskwatch/taskwatch/internal/cnproc"

// gaps finds lost messages by their numbers.
type gaps struct {
	next map[uint32]uint32 // by CPU: the number of its next message
}

func newGaps() gaps { return gaps{make(map[uint32]uint32)} }

// noCPU is what answers to requests hold on kernels that do not count them.
const noCPU = ^uint32(0)

// check returns how many messages of the record's CPU were lost just before
// it.
func (g *gaps) check(r *cnproc.Record) uint64 {
	if r.CPU == noCPU {
		return 0
	}
	next, known := g.next[r.CPU]
	g.next[r.CPU] = r.Seq + 1
	if !known {
		return 0
	}
	return uint64(r.Seq - next) // wraps around as the kernel's counter does
}
