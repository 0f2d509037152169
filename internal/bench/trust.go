package bench

import (
	"fmt"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// From where on figures are not to be trusted.
const (
	controlOff = 0.1  // how far a ratio of [Control] may be from 1
	idleLoad   = 0.25 // the load average that a processor may have beforehand
)

// LoadAverage returns the load average of the last minute, or 0 where the
// kernel does not say.
func LoadAverage() float64 {
	n, _ := procfs.LoadAverage()
	return n
}

// Doubts returns why results are not to be trusted, one sentence each: before
// is the load average before they were measured, on that many processors.
func Doubts(results []Result, before float64, processors int) (doubts []string) {
	doubts = busyBefore(before, processors)
	for i := range results {
		if results[i].Watcher != Control {
			continue
		}
		for _, l := range results[i].Loads {
			doubts = append(doubts, controlSays(l.Ratio.Median, l.Load)...)
		}
	}
	return doubts
}

// DoubtsOf returns why comparisons are not to be trusted, as Doubts does.
func DoubtsOf(list []Comparison, before float64, processors int) (doubts []string) {
	doubts = busyBefore(before, processors)
	for i := range list {
		if list[i].Watcher != Control {
			continue
		}
		for _, l := range list[i].Loads {
			doubts = append(doubts, controlSays(l.Rate.Median, l.Load)...)
		}
	}
	return doubts
}

func busyBefore(load float64, processors int) []string {
	if load <= idleLoad*float64(processors) {
		return nil
	}
	return []string{fmt.Sprintf("the load average was %.2f on %d processors: other work was running", load, processors)}
}

func controlSays(ratio float64, load string) []string {
	if ratio >= 1-controlOff && ratio <= 1+controlOff {
		return nil
	}
	return []string{fmt.Sprintf("the control, which watches nothing, has %.3f for %s instead of 1", ratio, load)}
}
