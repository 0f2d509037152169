package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// How long something takes before its progress is shown, and how often then.
const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// progress is a line on a terminal that says how far something is that takes
// long. It goes away at the end.
type progress struct {
	text func(taken time.Duration) string
	stop chan struct{}
	once sync.Once // closes stop
	wg   sync.WaitGroup
}

// showProgress shows what text returns on standard error, if that is a terminal
// to which nothing else goes.
func showProgress(alone bool, text func(taken time.Duration) string) *progress {
	p := &progress{text: text, stop: make(chan struct{})}
	if alone && isTerminal(os.Stderr) {
		width := terminalOf(os.Stderr).width
		p.wg.Go(func() { p.show(os.Stderr, width) })
	}
	return p
}

// showWaiting shows for how long already something is done.
func showWaiting(alone bool, what string) *progress {
	return showProgress(alone, func(taken time.Duration) string {
		return fmt.Sprintf("%s: %d s", what, int(taken.Seconds()))
	})
}

// show shows it on a terminal of so many columns, of which 0 is an unknown
// number: what is longer than a line could not be taken away.
func (p *progress) show(to io.Writer, width int) {
	if width <= 0 {
		width = 80
	}
	began := time.Now()
	timer := time.NewTimer(progressAfter)
	defer timer.Stop()
	shown := false
	for {
		select {
		case <-timer.C:
			line := []rune(p.text(time.Since(began)))
			_, _ = fmt.Fprintf(to, "\r%s\x1b[K", string(line[:min(len(line), width-1)]))
			shown = true
			timer.Reset(progressEvery)
		case <-p.stop:
			if shown {
				_, _ = io.WriteString(to, "\r\x1b[K") // the line goes away
			}
			return
		}
	}
}

// end takes the line away. It may be called again.
func (p *progress) end() {
	p.once.Do(func() { close(p.stop) })
	p.wg.Wait()
}

// reading counts what is read of a file, and shows it.
type reading struct {
	*progress
	in    io.Reader
	total int64 // bytes; 0 where only the end will tell
	read  atomic.Int64
}

// showReading returns a reader of a file that shows how far it is.
func showReading(in *os.File, alone bool) *reading {
	r := &reading{in: in}
	if st, err := in.Stat(); err == nil && st.Mode().IsRegular() {
		r.total = st.Size()
	}
	r.progress = showProgress(alone && !isTerminal(in), r.say)
	return r
}

func (r *reading) say(time.Duration) string {
	n := r.read.Load()
	if r.total == 0 {
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%3d %% of %d MB", min(100*n/r.total, 100), r.total>>20)
}

// Read reads from the file.
func (r *reading) Read(b []byte) (int, error) {
	n, err := r.in.Read(b)
	r.read.Add(int64(n))
	return n, err
}
