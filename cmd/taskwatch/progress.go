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

// progress counts what is read of a file, and shows it on a terminal.
type progress struct {
	in    io.Reader
	total int64
	read  atomic.Int64
	stop  chan struct{}
	once  sync.Once // closes stop
	wg    sync.WaitGroup
}

// showProgress returns a reader of a file that shows on standard error how far
// it is, if that is a terminal to which nothing else goes.
func showProgress(in *os.File, alone bool) *progress {
	p := &progress{in: in, stop: make(chan struct{})}
	st, err := in.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() == 0 || !alone || !isTerminal(os.Stderr) {
		return p
	}
	p.total = st.Size()
	p.wg.Go(func() { p.show(os.Stderr) })
	return p
}

// Read reads from the file.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.read.Add(int64(n))
	return n, err
}

func (p *progress) show(to io.Writer) {
	timer := time.NewTimer(progressAfter)
	defer timer.Stop()
	shown := false
	for {
		select {
		case <-timer.C:
			_, _ = fmt.Fprintf(to, "\r%3d %% of %d MB ", min(100*p.read.Load()/p.total, 100), p.total>>20)
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
