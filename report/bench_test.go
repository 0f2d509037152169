package report

import (
	"io"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

func BenchmarkText(b *testing.B) {
	text := NewText(io.Discard, TextOptions{})
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Time: time.Now(),
		Task: &taskwatch.Task{ID: id(1), PID: 1, TID: 1, Argv: []string{"gcc", "-O2", "-c", "-o", "a.o", "a file.c"}}}
	b.ReportAllocs()
	for b.Loop() {
		text.Take(taskwatch.Item{Event: ev})
	}
}

func BenchmarkSummary(b *testing.B) {
	s := NewSummary(SummaryOptions{})
	b.ReportAllocs()
	for b.Loop() { // three events a round
		endProcess(s, 1, 0, ms, ms, "/usr/bin/cc")
	}
}
