package cnproc

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// startServer serves until the test ends, and returns the socket's path.
func startServer(t *testing.T) (*Server, string) { return startWanted(t, nil) }

func startWanted(t *testing.T, wanted func(bool)) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(l, wanted)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s, path
}

// program is one that is connected to a server.
type program struct {
	t *testing.T
	net.Conn
}

func connect(t *testing.T, path string) *program {
	t.Helper()
	c, err := net.Dial("unixpacket", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &program{t, c}
}

// ask sends a request, of the form since Linux 6.6 where it has kinds.
func (p *program) ask(number, op uint32, kinds ...uint32) {
	p.t.Helper()
	cn := request(number, op)
	for _, k := range kinds {
		cn = binary.NativeEndian.AppendUint32(cn, k)
		binary.NativeEndian.PutUint16(cn[16:], 8)
	}
	if _, err := p.Write(packet(cn)); err != nil {
		p.t.Fatal(err)
	}
}

// next returns the next record, and whether there is one.
func (p *program) next() (Record, bool) {
	p.t.Helper()
	if err := p.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, MaxMessage)
	n, err := p.Read(b)
	if err != nil {
		return Record{}, false
	}
	r, rest, err := Decode(b[:n])
	if err != nil || len(rest) > 0 {
		p.t.Fatalf("%x: %d bytes more, %v", b[:n], len(rest), err)
	}
	return r, true
}

// listen subscribes and waits for the answer.
func (p *program) listen(number uint32, kinds ...uint32) Record {
	p.t.Helper()
	p.ask(number, listen, kinds...)
	r, ok := p.next()
	if !ok || r.What != Answer || r.Ack != number+1 || r.Code != 0 || r.NS == 0 {
		p.t.Fatalf("the answer is %+v, %v", r, ok)
	}
	return r
}

// message returns a message of a kind.
func message(what What, seq, code uint32) []byte {
	b := make([]byte, messageLen)
	binary.NativeEndian.PutUint32(b, idxProc)
	binary.NativeEndian.PutUint32(b[4:], valProc)
	binary.NativeEndian.PutUint32(b[8:], seq)
	binary.NativeEndian.PutUint16(b[16:], messageLen-cnLen)
	binary.NativeEndian.PutUint32(b[cnLen:], uint32(what))
	binary.NativeEndian.PutUint32(b[cnLen+eventLen+8:], code)
	return b
}

// A program gets what comes after its subscription, until it ends that.
func TestServer(t *testing.T) {
	s, path := startServer(t)
	early, late := connect(t, path), connect(t, path)
	if r := early.listen(41); r.Seq != ^uint32(0) {
		t.Errorf("the answer has the number %d, and the first message 0", r.Seq)
	}
	s.Send(message(Exec, 0, 0))
	if r := late.listen(^uint32(0)); r.Seq != 0 {
		t.Errorf("the answer has the number %d, and the next message 1", r.Seq)
	}
	s.Send([]byte("{}")) // no message
	s.Send(message(Exit, 1, 256))
	for _, want := range []Record{{What: Exec}, {What: Exit, Seq: 1, Code: 256}} {
		if r, ok := early.next(); !ok || r != want {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
	if r, ok := late.next(); !ok || r.Seq != 1 {
		t.Errorf("what has subscribed later gets %+v", r)
	}

	late.ask(7, ignore)
	if r, ok := late.next(); !ok || r.Ack != 8 || r.Code != 0 {
		t.Errorf("the answer to the end is %+v", r)
	}
	late.ask(9, 3) // no such operation
	if r, ok := late.next(); !ok || r.Ack != 10 || r.Code != uint32(unix.EINVAL) {
		t.Errorf("the answer to an unknown request is %+v", r)
	}
	if _, err := late.Write(make([]byte, 12)); err != nil { // not answered
		t.Fatal(err)
	}
	s.Send(message(Exec, 2, 0))
	if r := late.listen(11); r.Seq != 2 { // and nothing comes before it
		t.Errorf("a message between two subscriptions: %+v", r)
	}
}

// A subscription may name kinds, as since Linux 6.6.
func TestServerKinds(t *testing.T) {
	s, path := startServer(t)
	forks, failures, all := connect(t, path), connect(t, path), connect(t, path)
	forks.listen(1, uint32(Fork))
	failures.listen(1, nonzeroExit)
	all.listen(1, 0)
	sent := []struct {
		what What
		code uint32
	}{{Exit, 0}, {Fork, 0}, {Exit, 9}}
	for i, m := range sent {
		s.Send(message(m.what, uint32(i), m.code))
	}
	for name, c := range map[string]struct {
		*program
		want []uint32
	}{"forks": {forks, []uint32{1}}, "failures": {failures, []uint32{2}}, "all": {all, []uint32{0, 1, 2}}} {
		for _, seq := range c.want {
			if r, ok := c.next(); !ok || r.Seq != seq {
				t.Errorf("%s: got %+v, want number %d", name, r, seq)
			}
		}
	}
}

// What reads slowly misses messages, which are counted; the numbers have a gap.
// Others miss nothing.
func TestServerSlow(t *testing.T) {
	s, path := startServer(t)
	slow := connect(t, path)
	slow.listen(1)
	n := uint32(0)
	for ; s.Dropped() == 0; n++ {
		s.Send(message(Fork, n, 0))
	}
	for want := range n - 1 {
		if r, ok := slow.next(); !ok || r.Seq != want {
			t.Fatalf("got %+v, want number %d", r, want)
		}
	}
	s.Send(message(Fork, n, 0))
	if r, ok := slow.next(); !ok || r.Seq != n || s.Dropped() != 1 {
		t.Errorf("after the gap: %+v, want number %d; %d dropped", r, n, s.Dropped())
	}
}

// Only so many programs are served, and the place of one that is gone is free.
func TestServerLimit(t *testing.T) {
	_, path := startServer(t)
	var all []*program
	for range maxListeners {
		p := connect(t, path)
		p.listen(1)
		all = append(all, p)
	}
	if r, ok := connect(t, path).next(); ok {
		t.Errorf("one too many gets %+v", r)
	}
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; {
		p := connect(t, path)
		if _, err := p.Write(packet(request(1, listen))); err == nil {
			if _, ok := p.next(); ok {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("the place is not free")
		}
	}
}

// A program that is served when the server ends sees its end.
func TestServerEnds(t *testing.T) {
	l, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(l, nil)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	p := connect(t, l.Addr().String())
	p.listen(1)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if r, ok := p.next(); ok {
		t.Errorf("after the end: %+v", r)
	}
	if _, err := os.Stat(l.Addr().String()); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// The server says when the first program subscribes, before that knows, and when the last
// one has left, in whatever way.
func TestServerSaysWhetherAnybodyListens(t *testing.T) {
	told := make(chan bool, 8)
	_, path := startWanted(t, func(yes bool) { told <- yes })
	await := func(want bool) {
		t.Helper()
		select {
		case yes := <-told:
			if yes != want {
				t.Errorf("it says %v, want %v", yes, want)
			}
		case <-time.After(time.Minute):
			t.Fatal("it says nothing")
		}
	}
	quiet := func(when string) {
		t.Helper()
		if len(told) > 0 {
			t.Errorf("%s, it says %v", when, <-told)
		}
	}
	ask := func(p *program, op uint32) {
		t.Helper()
		p.ask(1, op)
		if r, ok := p.next(); !ok || r.What != Answer {
			t.Fatalf("no answer, but %+v", r)
		}
	}
	first, second, idle := connect(t, path), connect(t, path), connect(t, path)
	ask(first, listen)
	if len(told) != 1 {
		t.Error("the first program has its answer before anything is said")
	}
	await(true)
	ask(first, listen)
	ask(second, listen)
	if err := errors.Join(first.Close(), idle.Close()); err != nil {
		t.Fatal(err)
	}
	ask(second, 77)
	quiet("with a program that listens")
	ask(second, ignore)
	await(false)
	ask(second, ignore)
	ask(second, listen)
	await(true)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	await(false)
	quiet("at the end")
}
