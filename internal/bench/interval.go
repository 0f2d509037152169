package bench

import (
	"fmt"
	"math"
	"slices"
)

// Interval is the median of some ratios, and an interval that has the true median
// in it, with a probability of 99 %, where there are enoughPairs of them. It is
// from the lowest to the highest ratio where there are fewer.
type Interval struct {
	Low    float64 `json:"low"`
	Median float64 `json:"median"`
	High   float64 `json:"high"`
}

// intervalOf returns the interval of some ratios. It assumes nothing of how they are
// distributed: the number of those below the true median is that of heads of a coin.
func intervalOf(list []float64) Interval { return intervalAt(list, 0.99) }

// intervalAt is intervalOf for another probability. At 95 % six ratios are enough.
func intervalAt(list []float64, probability float64) Interval {
	if len(list) == 0 {
		return Interval{}
	}
	s := slices.Sorted(slices.Values(list))
	outside := (1 - probability) / 2 // on each side
	n, skip := len(s), 0
	exactly := math.Pow(2, -float64(n)) // that skip of them are below the true median
	for atMost := exactly; ; skip++ {
		exactly *= float64(n-skip) / float64(skip+1)
		if atMost += exactly; atMost > outside {
			break
		}
	}
	return Interval{s[skip], SpreadOf(s).Median, s[n-1-skip]}
}

func (i Interval) String() string { return fmt.Sprintf("%.3f (%.3f to %.3f)", i.Median, i.Low, i.High) }
