// Package acct writes process accounting as the kernel does it: for each
// process that ended, a struct acct_v3 of <linux/acct.h>, which lastcomm, sa and
// dump-acct read.
package acct

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// Sink is a sink that writes a record for each process that ends. It keeps an
// entry in memory for each live process that it has heard of.
type Sink struct {
	w       *bufio.Writer
	err     error
	live    map[int]*usage // by pid
	ahead   int64          // of CLOCK_BOOTTIME before CLOCK_MONOTONIC, as it was last seen
	lost    uint64
	anyLost bool // and of some nobody knows how many
	partial uint64
}

// New returns a sink that writes to w, which stays open.
func New(w io.Writer) *Sink {
	return &Sink{w: bufio.NewWriter(w), live: map[int]*usage{}}
}

// usage is what is known of a process before its end.
type usage struct {
	startNS  int64 // CLOCK_BOOTTIME; 0 where it is unknown
	forked   bool  // its birth was seen, and no exec since then
	status   uint64
	hasState bool // status is that of the first thread

	userNS, systemNS int64
	minFlt, majFlt   uint64
	missing          taskwatch.Fields // of any of its tasks
}

// fields are what an exit is asked for, beside that which says whose it is.
const fields = taskwatch.FieldUTime | taskwatch.FieldSTime | taskwatch.FieldMinFlt | taskwatch.FieldMajFlt |
	taskwatch.FieldUID | taskwatch.FieldGID | taskwatch.FieldComm | taskwatch.FieldStart | taskwatch.FieldTTY

// Wants returns what the sink reads.
func (s *Sink) Wants() taskwatch.Wants {
	return taskwatch.Wants{
		taskwatch.Clone: process.TreeFields | taskwatch.FieldStart,
		taskwatch.Exec:  process.TreeFields | taskwatch.FieldStart,
		taskwatch.Exit:  process.TreeFields | fields,
	}
}

// Pass processes an item without writing a record.
func (s *Sink) Pass(it taskwatch.Item) { s.follow(it) }

// TakeUnsure writes the record of a process, although it is unknown whether the
// filter matches: the format has no mark for that.
func (s *Sink) TakeUnsure(it taskwatch.Item) { s.Take(it) }

// Take takes an item.
func (s *Sink) Take(it taskwatch.Item) {
	if it.Loss != nil {
		s.lost += it.Loss.Count
		s.anyLost = s.anyLost || it.Loss.Count == 0
	}
	if u := s.follow(it); u != nil && s.err == nil {
		b := u.record(it.Event, s.ahead).append(nil)
		_, s.err = s.w.Write(b)
	}
}

// follow returns what is known of the process that an item ends, or nil.
func (s *Sink) follow(it taskwatch.Item) *usage {
	if it.Start != nil { // of another run: its processes are others
		clear(s.live)
	}
	ev := it.Event
	if ev == nil || ev.Task == nil || !process.Kinds.Has(ev.Kind) || ev.Missing.Has(taskwatch.FieldPID) {
		return nil
	}
	u := s.of(ev)
	switch ev.Kind {
	case taskwatch.Exec:
		u.forked = false
	case taskwatch.Exit:
		u.add(ev)
		if process.EndsProcess(ev) {
			delete(s.live, ev.Task.PID)
			if u.missing != 0 {
				s.partial++
			}
			return u
		}
	}
	return nil
}

// of returns the entry of an event's process.
func (s *Sink) of(ev *taskwatch.Event) *usage {
	t, leader := ev.Task, process.IsLeader(ev)
	born := ev.Kind == taskwatch.Clone && leader
	u := s.live[t.PID]
	if u == nil || born {
		u = &usage{forked: born}
		s.live[t.PID] = u
	}
	started := !ev.Missing.Has(taskwatch.FieldStart) && t.StartNS != 0
	if leader && started {
		u.startNS = t.StartNS
	}
	if ev.Kind == taskwatch.Clone && started {
		s.ahead = t.StartNS - ev.MonoNS
	}
	return u
}

// add adds a task that has ended.
func (u *usage) add(ev *taskwatch.Event) {
	r := &ev.Rusage
	u.missing |= ev.Missing & (taskwatch.FieldUTime | taskwatch.FieldSTime | taskwatch.FieldMinFlt | taskwatch.FieldMajFlt)
	if !ev.Missing.Has(taskwatch.FieldUTime) {
		u.userNS += r.UTimeNS
	}
	if !ev.Missing.Has(taskwatch.FieldSTime) {
		u.systemNS += r.STimeNS
	}
	if !ev.Missing.Has(taskwatch.FieldMinFlt) {
		u.minFlt += r.MinFlt
	}
	if !ev.Missing.Has(taskwatch.FieldMajFlt) {
		u.majFlt += r.MajFlt
	}
	if leader := process.IsLeader(ev); leader || !u.hasState {
		u.status, u.hasState = ev.Val, leader
	}
}

// Flush writes what has been gathered.
func (s *Sink) Flush() error {
	if s.err == nil {
		s.err = s.w.Flush()
	}
	return s.err
}

// Notes says what the file lacks.
func (s *Sink) Notes() (notes []string) {
	switch {
	case s.lost > 0:
		notes = append(notes, fmt.Sprintf("%d events were lost; processes may be missing", s.lost))
	case s.anyLost:
		notes = append(notes, "events were lost; processes may be missing")
	}
	if s.partial > 0 {
		notes = append(notes, fmt.Sprintf("CPU times or page faults of %d processes are not known, and count as 0", s.partial))
	}
	return notes
}

// Close writes the rest.
func (s *Sink) Close(context.Context) error { return s.Flush() }
