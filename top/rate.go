package top

import "time"

const buckets = int(Window / time.Second)

// rate counts what has happened in the last [Window], by the second, and ever.
type rate struct {
	total  uint64
	second int64 // of the newest bucket
	counts [buckets]uint32
}

func (r *rate) add(ns int64) {
	r.total++
	s := ns / int64(time.Second)
	if s > r.second {
		r.forward(s)
	}
	if r.second-s < int64(buckets) {
		r.counts[s%int64(buckets)]++
	}
}

func (r *rate) forward(s int64) {
	for n := min(s-r.second, int64(buckets)); n > 0; n-- {
		r.counts[(s-n+1)%int64(buckets)] = 0
	}
	r.second = s
}

// recent returns how many there were in the [Window] up to ns.
func (r *rate) recent(ns int64) (n uint64) {
	now := ns / int64(time.Second)
	for s := max(now-int64(buckets)+1, 0); s <= r.second; s++ {
		if r.second-s < int64(buckets) {
			n += uint64(r.counts[s%int64(buckets)])
		}
	}
	return n
}

// perSecond returns the mean rate in the [Window] up to ns.
func (r *rate) perSecond(ns int64) float64 { return float64(r.recent(ns)) / Window.Seconds() }

// counts are those of everything.
type counts struct{ born, died, execs, failed rate }
