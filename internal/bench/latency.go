package bench

import (
	"math/bits"
	"time"
)

// latencies counts durations in buckets, 32 to each power of two.
type latencies struct{ Buckets [64 << fineness]uint64 }

const fineness = 5

func (l *latencies) add(ns int64) { l.Buckets[bucketOf(uint64(max(ns, 1)))]++ }

func (l *latencies) merge(o *latencies) {
	for i := range l.Buckets {
		l.Buckets[i] += o.Buckets[i]
	}
}

func bucketOf(ns uint64) int {
	top := bits.Len64(ns) - 1
	return top<<fineness | int(ns<<fineness>>top&(1<<fineness-1))
}

// upper is the end of a bucket.
func upper(bucket int) time.Duration {
	const fine = 1 << fineness
	return time.Duration(uint64(fine+bucket&(fine-1)+1) << (bucket >> fineness) >> fineness)
}

// quantile returns a time that the given part of all does not exceed.
func (l *latencies) quantile(q float64) time.Duration {
	var all, n uint64
	for _, b := range l.Buckets {
		all += b
	}
	for i, b := range l.Buckets {
		if n += b; all > 0 && float64(n) >= q*float64(all) {
			return upper(i)
		}
	}
	return 0
}
