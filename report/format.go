package report

import (
	"fmt"
	"math"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// duration writes d with about three digits.
func duration(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d == 0:
		return "0s"
	case d < 0:
		return "-" + duration(-max(ns, -math.MaxInt64)) // the least number has no opposite
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1fms", float64(d.Microseconds())/1e3)
	case d < time.Minute:
		return fmt.Sprintf("%.2fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
}

// peak writes the most memory, with a mark where it is only a bound.
func peak(bytes uint64, atMost bool) string {
	if atMost {
		return "<" + size(bytes)
	}
	return size(bytes)
}

// size writes n bytes with about three digits.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1024, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		v, unit = v/1024, next
	}
	if v < 10 {
		return fmt.Sprintf("%.1f %s", v, unit)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

// count writes n things.
func count(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// exitStatus returns how the task ended, from its exit event.
func exitStatus(ev *taskwatch.Event) taskwatch.ExitStatus {
	e := ev.Exit
	if ev.Missing&taskwatch.FieldsExit != 0 && !ev.Missing.Has(taskwatch.FieldVal) {
		group := e.Group
		e = taskwatch.DecodeExit(ev.Val)
		e.Group = group
	}
	return e
}

// status writes how a task ended, "exit 1" or "signal 9 (SIGKILL)".
func status(e taskwatch.ExitStatus) string {
	if e.Signal == 0 {
		return fmt.Sprintf("exit %d", e.Code)
	}
	s := fmt.Sprintf("signal %d", e.Signal)
	if name := unix.SignalName(syscall.Signal(e.Signal)); name != "" {
		s += " (" + name + ")"
	}
	if e.Core {
		s += ", core dumped"
	}
	return s
}

// shortStatus is status for a column: "exit 1", "SIGKILL", "SIGSEGV core".
func shortStatus(e taskwatch.ExitStatus) string {
	s := unix.SignalName(syscall.Signal(e.Signal))
	if s == "" {
		s = status(taskwatch.ExitStatus{Code: e.Code, Signal: e.Signal})
	}
	if e.Core {
		s += " core"
	}
	return s
}

func failed(e taskwatch.ExitStatus) bool { return e.Code != 0 || e.Signal != 0 }

var idNames = [4]string{"real", "effective", "saved", "fs"}

// change writes which ids changed, from what to what.
func change(ev *taskwatch.Event) string {
	ids, field := ev.Task.UID, taskwatch.FieldUID
	if ev.Kind == taskwatch.GID {
		ids, field = ev.Task.GID, taskwatch.FieldGID
	}
	old := ev.OldIDs
	switch {
	case ev.Missing.Has(field):
		return "changed"
	case ev.Missing.Has(taskwatch.FieldOld):
		return "now " + list(ids)
	case ids == old:
		return "still " + list(ids)
	case alike(ids) && alike(old):
		return fmt.Sprintf("%d -> %d", old[0], ids[0])
	}
	s := ""
	for i := range ids {
		if ids[i] != old[i] {
			if s != "" {
				s += ", "
			}
			s += fmt.Sprintf("%s %d -> %d", idNames[i], old[i], ids[i])
		}
	}
	return s
}

func list(ids taskwatch.IDs) string {
	if alike(ids) {
		return fmt.Sprint(ids[0])
	}
	return fmt.Sprintf("real %d, effective %d, saved %d, fs %d", ids[0], ids[1], ids[2], ids[3])
}

func alike(ids taskwatch.IDs) bool {
	return ids == taskwatch.IDs{ids[0], ids[0], ids[0], ids[0]}
}
