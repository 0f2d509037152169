package bpf

import (
	"os"
	"runtime"
	"strings"
	"time"
)

// lookout decides how long the reader looks at the buffer for the next event before
// it sleeps, where each event is to be read at once. While it looks, the task that
// causes the next event does not have to wake it up, which costs the task 6 µs or more.
//
// It looks only as long as a wake-up costs, only while events come so fast that most
// looks find one, and only for a part of the time. Where another task needs the
// processor meanwhile, it stops for a while.
type lookout struct {
	never   bool  // there is one processor: while the reader looks, nothing can happen
	gapNS   int64 // between two events, a mean of the latest
	lastNS  int64 // when the reader began to wait last
	spentNS int64 // on looking since sinceNS
	sinceNS int64
	offNS   int64 // it does not look until then
}

const (
	lookTime   = int64(60 * time.Microsecond)  // about what a wake-up costs the task and the reader
	lookPeriod = int64(10 * time.Millisecond)  // in which
	lookMost   = int64(8 * time.Millisecond)   // is spent on looking at most
	lookPause  = int64(100 * time.Millisecond) // if others need the processor

	mostGap = int64(time.Millisecond) // that is taken into account: events may come fast any time
)

func newLookout() lookout {
	return lookout{never: oneProcessor(), gapNS: mostGap}
}

// begin is called before the reader waits, and returns until when it looks: at for
// not at all.
func (l *lookout) begin(at int64) (until int64) {
	if at-l.sinceNS >= lookPeriod {
		l.sinceNS, l.spentNS = at, 0
	}
	l.lastNS = at
	if l.never || l.gapNS > lookTime || l.spentNS >= lookMost || at < l.offNS {
		return at
	}
	return at + min(lookTime, lookMost-l.spentNS)
}

// looked is called after the reader has looked from lastNS on.
func (l *lookout) looked(at int64) { l.spentNS += at - l.lastNS }

// preempted is called where it could not look all the time.
func (l *lookout) preempted(at int64) { l.offNS = at + lookPause }

// came is called when there is another event.
func (l *lookout) came(at int64) {
	l.gapNS += (min(at-l.lastNS, mostGap) - l.gapNS) / 8
}

// lookAround looks at the buffer until there is something to read, and reports whether
// there is. Other goroutines run meanwhile.
func (st *runner) lookAround() bool {
	ring, l := st.kernel.ring, &st.lookout
	at := now()
	for until := l.begin(at); at < until; {
		if ring.Produced() != ring.Position() {
			l.looked(at)
			l.came(at)
			return true
		}
		runtime.Gosched()
		last := at
		if at = now(); at-last > lookTime {
			l.preempted(at)
			break
		}
	}
	l.looked(at)
	return false
}

// oneProcessor reports whether the machine uses only one processor: this process may
// be kept to one of several.
func oneProcessor() bool {
	b, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return runtime.NumCPU() == 1
	}
	return !strings.ContainsAny(string(b), "-,") // it has ranges
}
