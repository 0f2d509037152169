package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What takes long says how far it is, and takes that away; what does not says
// nothing.
func TestProgress(t *testing.T) {
	p := &progress{total: 200 << 20, stop: make(chan struct{})}
	p.read.Store(50 << 20)
	var line screen
	p.wg.Go(func() { p.show(&line) })
	eventually(t, "the progress is shown", line.has("\r 25 % of 200 MB "))
	p.end()
	p.end()
	if text := line.String(); !strings.HasSuffix(text, "\r\x1b[K") {
		t.Errorf("the line stays: %q", text)
	}

	quick := &progress{total: 1, stop: make(chan struct{})}
	var none screen
	quick.wg.Go(func() { quick.show(&none) })
	quick.end()
	if none.String() != "" {
		t.Errorf("what took no time says %q", none.String())
	}

	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("abc"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := showProgress(f, false)
	defer read.end()
	if n, err := read.Read(make([]byte, 9)); n != 3 || err != nil || read.read.Load() != 3 {
		t.Errorf("%d bytes, %v, counted %d", n, err, read.read.Load())
	}
}
