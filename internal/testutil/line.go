package testutil

import (
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
)

// Line is a connection to a daemon that a test can cut.
type Line struct {
	Path string // of its own socket
	to   string
	l    net.Listener
	all  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	limit int64      // bytes after which a connection is cut; 0 is none
	down  bool
	conns map[net.Conn]struct{}
	cuts  int
}

// NewLine returns a line to the daemon that serves a socket.
func NewLine(t testing.TB, to string) *Line {
	t.Helper()
	p := &Line{Path: filepath.Join(t.TempDir(), "line"), to: to, conns: map[net.Conn]struct{}{}}
	var err error
	if p.l, err = net.Listen("unix", p.Path); err != nil {
		t.Fatal(err)
	}
	p.all.Go(p.serve)
	t.Cleanup(func() {
		p.l.Close()
		p.SetDown(true)
		p.all.Wait()
	})
	return p
}

func (p *Line) serve() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		d, err := net.Dial("unix", p.to)
		p.mu.Lock()
		if err != nil || p.down {
			c.Close()
			if err == nil {
				d.Close()
			}
			p.mu.Unlock()
			continue
		}
		p.conns[c], p.conns[d] = struct{}{}, struct{}{}
		limit := p.limit
		p.mu.Unlock()
		end := sync.OnceFunc(func() {
			c.Close()
			d.Close()
			p.mu.Lock()
			delete(p.conns, c)
			delete(p.conns, d)
			p.cuts++
			p.mu.Unlock()
		})
		p.all.Go(func() {
			defer end()
			io.Copy(d, c)
		})
		p.all.Go(func() {
			defer end()
			if limit > 0 {
				io.CopyN(c, d, limit)
			} else {
				io.Copy(c, d)
			}
		})
	}
}

// SetDown cuts all connections, and has new ones fail or not.
func (p *Line) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	for c := range p.conns {
		c.Close()
	}
}

// SetLimit has connections from now on be cut after as many bytes of answers; 0 is
// no limit.
func (p *Line) SetLimit(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = n
}

// Cuts returns how many connections were cut, or have ended.
func (p *Line) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}
