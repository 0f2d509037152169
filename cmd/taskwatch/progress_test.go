package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What takes long says how far it is, and takes that away; what does not says
// nothing.
func TestProgress(t *testing.T) {
	t.Parallel()
	p := &progress{text: func(taken time.Duration) string {
		if taken < progressAfter {
			t.Errorf("it is shown after %v", taken)
		}
		return "half of it"
	}, stop: make(chan struct{})}
	var line screen
	p.wg.Go(func() { p.show(&line, 5) })
	eventually(t, "the progress is shown", line.Has("\rhalf\x1b[K"))
	p.end()
	p.end()
	if text := line.String(); !strings.HasSuffix(text, "\r\x1b[K") {
		t.Errorf("the line stays: %q", text)
	}

	quick := &progress{stop: make(chan struct{})}
	var none screen
	quick.wg.Go(func() { quick.show(&none, 0) })
	quick.end()
	if none.String() != "" {
		t.Errorf("what took no time says %q", none.String())
	}
}

func TestReading(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, make([]byte, 3<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := showReading(f, false)
	defer r.end()
	if n, err := r.Read(make([]byte, 1<<20)); n != 1<<20 || err != nil || r.say(0) != " 33 % of 3 MB" {
		t.Errorf("%d bytes, %v: %q", n, err, r.say(0))
	}
	r.total = 0 // as of a pipe
	if got := r.say(0); got != "1 MB" {
		t.Errorf("where the end is not known it says %q", got)
	}
}
