package report

import (
	"fmt"
	"strconv"
	"time"

	"github.com/taskwatch/taskwatch"
)

// TimeStyle says how a time is written.
type TimeStyle string

// The styles.
const (
	TimeLocal    TimeStyle = "local"    // of the day, with the date where that is not today's
	TimeUTC      TimeStyle = "utc"      // the same, in UTC
	TimeUnix     TimeStyle = "unix"     // seconds since 1970
	TimeRelative TimeStyle = "relative" // since the first event
	TimeDelta    TimeStyle = "delta"    // since the event before
)

// TimeStyles are all styles.
var TimeStyles = []TimeStyle{TimeLocal, TimeUTC, TimeUnix, TimeRelative, TimeDelta}

// Clock writes times. The zero value writes local ones. It is for one
// goroutine at a time.
type Clock struct {
	Style    TimeStyle      // "" stands for TimeLocal
	Location *time.Location // for TimeLocal; nil stands for the local one
	Now      func() time.Time

	first, before int64 // CLOCK_MONOTONIC
	any           bool
}

// spans reports whether the times are spans, which are numbers.
func (c *Clock) spans() bool { return c.Style == TimeRelative || c.Style == TimeDelta }

// padded returns the time of an event as text has it.
func (c *Clock) padded(ev *taskwatch.Event) string {
	text := c.format(ev)
	if c.spans() {
		text = fmt.Sprintf("%*s", len(clockLayout), text)
	}
	return text
}

// format returns the time of an event.
func (c *Clock) format(ev *taskwatch.Event) string {
	switch c.Style {
	case TimeUnix:
		us := ev.Time.UnixMicro()
		return fmt.Sprintf("%d.%06d", us/1e6, us%1e6)
	case TimeRelative, TimeDelta:
		if !c.any {
			c.any, c.first, c.before = true, ev.MonoNS, ev.MonoNS
		}
		from := c.first
		if c.Style == TimeDelta {
			from, c.before = c.before, max(c.before, ev.MonoNS)
		}
		return strconv.FormatFloat(float64(ev.MonoNS-from)/1e9, 'f', 6, 64)
	case TimeUTC:
		return c.ofDay(ev.Time.UTC())
	}
	loc := c.Location
	if loc == nil {
		loc = time.Local
	}
	return c.ofDay(ev.Time.In(loc))
}

// ofDay returns the time of the day, with the date where it is not today's.
func (c *Clock) ofDay(t time.Time) string {
	if y, m, d := c.today(t.Location()).Date(); t.Day() != d || t.Month() != m || t.Year() != y {
		return t.Format(time.DateOnly + " " + clockLayout)
	}
	return t.Format(clockLayout)
}

func (c *Clock) today(loc *time.Location) time.Time {
	if c.Now != nil {
		return c.Now().In(loc)
	}
	return time.Now().In(loc)
}
