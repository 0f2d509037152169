package report

import (
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

func TestDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0s", 999: "0µs", time.Microsecond: "1µs", time.Millisecond - 1: "999µs",
		time.Millisecond: "1.0ms", 999900 * time.Microsecond: "999.9ms",
		time.Second: "1.00s", 59990 * time.Millisecond: "59.99s",
		time.Minute: "1m00s", time.Hour - 1: "59m59s", time.Hour: "1h00m", 25*time.Hour + 59*time.Minute: "25h59m",
		-1500 * time.Millisecond: "-1.50s",
	} {
		if got := duration(int64(in)); got != want {
			t.Errorf("%d is %s, want %s", in, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 10 << 10: "10 KiB",
		1 << 20: "1.0 MiB", 512 << 20: "512 MiB", 3 << 30: "3.0 GiB", 1 << 40: "1.0 TiB", 1 << 60: "1048576 TiB",
	} {
		if got := size(in); got != want {
			t.Errorf("%d is %s, want %s", in, got, want)
		}
	}
}

func TestStatus(t *testing.T) {
	for in, want := range map[taskwatch.ExitStatus][2]string{
		{}:                       {"exit 0", "exit 0"},
		{Code: 127}:              {"exit 127", "exit 127"},
		{Signal: 11, Core: true}: {"signal 11 (SIGSEGV), core dumped", "SIGSEGV core"},
		{Signal: 15}:             {"signal 15 (SIGTERM)", "SIGTERM"},
		{Signal: 40}:             {"signal 40", "signal 40"},
	} {
		if got := [2]string{status(in), shortStatus(in)}; got != want {
			t.Errorf("%+v is %q, want %q", in, got, want)
		}
	}
}

func TestChange(t *testing.T) {
	for _, c := range []struct {
		old, now taskwatch.IDs
		want     string
	}{
		{taskwatch.IDs{}, taskwatch.IDs{1, 1, 1, 1}, "0 -> 1"},
		{taskwatch.IDs{1, 1, 1, 1}, taskwatch.IDs{1, 0, 0, 0}, "effective 1 -> 0, saved 1 -> 0, fs 1 -> 0"},
		{taskwatch.IDs{1, 2, 3, 4}, taskwatch.IDs{1, 2, 3, 5}, "fs 4 -> 5"},
		{taskwatch.IDs{1, 2, 3, 4}, taskwatch.IDs{4, 4, 4, 4}, "real 1 -> 4, effective 2 -> 4, saved 3 -> 4"},
		{taskwatch.IDs{7, 7, 7, 7}, taskwatch.IDs{7, 7, 7, 7}, "still 7"},
		{taskwatch.IDs{1, 2, 3, 4}, taskwatch.IDs{1, 2, 3, 4}, "still real 1, effective 2, saved 3, fs 4"},
	} {
		for _, k := range []taskwatch.Kind{taskwatch.UID, taskwatch.GID} {
			ev := &taskwatch.Event{Kind: k, OldIDs: c.old, Task: &taskwatch.Task{UID: c.now}}
			if k == taskwatch.GID {
				ev.Task = &taskwatch.Task{GID: c.now}
			}
			if got := change(ev); got != c.want {
				t.Errorf("%s from %v to %v: %q, want %q", k, c.old, c.now, got, c.want)
			}
		}
	}
}

// On a terminal, what does not print is escaped in CSV as well.
func TestCSVForTerminals(t *testing.T) {
	columns, err := ParseColumns("comm,exe", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	rows := NewCSV(&b, taskwatch.KindsOf(taskwatch.Exec), columns)
	rows.ForTerminal()
	rows.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{Comm: "\x1b]0;title\a", Exe: "/a,\nb"}}})
	if err := rows.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := "comm,exe\n\\033]0;title\\007,\"/a,\\nb\"\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
