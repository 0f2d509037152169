package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/outfile"
)

// What a file holds stays there with --append; each run has its own start.
func TestAppend(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if r := tw(t, "run", "--source", "ptrace", "--append", "-o", file, "--", "true"); r.status != 0 || r.stderr != "" {
			t.Fatalf("status %d, %s", r.status, r.stderr)
		}
		starts, exits := 0, 0
		for n, it := range lines(t, strings.NewReader(string(readFile(t, file)))) {
			if s := it.Start; s != nil {
				starts++
				if s.Host != host || s.Source != "ptrace" || strings.Join(s.Command, " ") != "true" || !s.Events[taskwatch.Exec].Delivered {
					t.Errorf("start %+v", s)
				}
			} else if n == 0 {
				t.Errorf("it begins with %+v", it)
			}
			if it.Event != nil && it.Event.Kind == taskwatch.Exit {
				exits++
			}
		}
		if starts != i+1 || exits != i+1 {
			t.Errorf("after run %d: %d starts and %d exits", i+1, starts, exits)
		}
	}
	csv := filepath.Join(t.TempDir(), "events.csv")
	for range 2 {
		tw(t, "replay", "--append", "-o", csv, file)
	}
	if text := string(readFile(t, csv)); strings.Count(text, "time,") != 1 || strings.Count(text, ",exec,") != 4 {
		t.Errorf("a table that was appended to:\n%s", text)
	}
	other := filepath.Join(t.TempDir(), "notes.jsonl")
	if err := os.WriteFile(other, []byte("notes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := tw(t, "run", "--append", "-o", other, "--", "true"); r.status != 125 || !strings.Contains(r.stderr, "holds something else than a recording") {
		t.Errorf("status %d, %s", r.status, r.stderr)
	}
	if got := string(readFile(t, other)); got != "notes" {
		t.Errorf("it holds %q", got)
	}
	for _, c := range [][]string{
		{"--append", "--", "true"},
		{"--append", "-o", "compile_commands.json", "--", "true"},
		{"--append", "-o", "x.pftrace", "--", "true"},
	} {
		if r := tw(t, append([]string{"run"}, c...)...); r.status != 125 || !strings.Contains(r.stderr, c[0]) {
			t.Errorf("%v: status %d, %s", c, r.status, r.stderr)
		}
	}
}

// A file that is being written is rejected, with its writer, and is not touched.
func TestLockedOutput(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "events.jsonl")
	f, err := outfile.Open(file, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(recording()); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.jsonl")
	if err := os.WriteFile(other, []byte(recording()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"run", "--source", "ptrace", "-o", file, "--", "true"},
		{"run", "--source", "ptrace", "--append", "-o", file, "--", "true"},
		{"replay", "-o", file, other},
	} {
		r := tw(t, args...)
		if r.status == 0 || !strings.Contains(r.stderr, fmt.Sprintf("process %d is writing it", os.Getpid())) {
			t.Errorf("%v: status %d, %s", args, r.status, r.stderr)
		}
	}
	if got := string(readFile(t, file)); got != recording() {
		t.Errorf("the file is\n%s", got)
	}
}

// replay says where a recording ends early, and so does what it writes.
func TestEarlyEndIsSaid(t *testing.T) {
	dir := t.TempDir()
	file, short, again := filepath.Join(dir, "events.jsonl"), filepath.Join(dir, "short.jsonl"), filepath.Join(dir, "again.jsonl")
	if r := tw(t, "run", "--source", "ptrace", "-o", file, "--", "true"); r.status != 0 {
		t.Fatal(r.stderr)
	}
	whole := strings.SplitAfter(strings.TrimSuffix(string(readFile(t, file)), "\n"), "\n")
	if r := tw(t, "replay", file); r.status != 0 || r.stderr != "" {
		t.Errorf("a whole one: status %d, %s", r.status, r.stderr)
	}
	cut := whole[:len(whole)-1]
	if err := os.WriteFile(short, []byte(strings.Join(cut, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("ends early, with line %d", len(cut))
	for range 2 {
		if r := tw(t, "replay", "-o", again, short); r.status != 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("one without its end: status %d, %s, want %q", r.status, r.stderr, want)
		}
		short = again
		again += ".jsonl"
	}
}

// A recording that somebody cuts while it is written, as logrotate's
// copytruncate does, begins anew, and says that something may be lost.
func TestCutRecordingBeginsAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, fifo := filepath.Join(dir, "events.jsonl"), filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	c := cmd(t, "run", "--source", "ptrace", "-o", file, "--", "sh", "-c", "/bin/true before; read x <"+fifo+"; /bin/true between; read x <"+fifo+"; /bin/true after")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	has := func(text string) func() bool {
		return func() bool {
			b, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(b), text)
		}
	}
	var parts []string
	for _, text := range []string{`"before"`, `"between"`} {
		eventually(t, "what happened "+text+" is in the file", has(text))
		parts = append(parts, string(readFile(t, file)))
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(fifo, []byte("go on\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, text := range append(parts, string(readFile(t, file))) {
		items := lines(t, strings.NewReader(text))
		if len(items) < 2 || items[0].Start == nil || strings.Join(items[0].Start.Command[:2], " ") != "sh -c" {
			t.Errorf("part %d begins with\n%.300s", i, text)
		}
		if said := items[1].Loss != nil && items[1].Loss.Count == 0; said != (i > 0) {
			t.Errorf("part %d says that something is lost: %v", i, said)
		}
		for _, it := range items[1:] {
			if it.Start != nil {
				t.Errorf("part %d has a second start", i)
			}
		}
	}
	if r := tw(t, "replay", file); r.status != 0 || r.stderr != "" || !strings.Contains(r.stdout, "true after") {
		t.Errorf("the last part: status %d, %s%s", r.status, r.stdout, r.stderr)
	}
}
