package cnproc

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// messageLen is the length of a struct cn_msg with a struct proc_event: what
// [Server.Send] takes.
const messageLen = cnLen + eventLen + 24

// maxListeners is how many programs may be connected to a server at once.
const maxListeners = 64

// bufferSize is that of a connection, in bytes: it holds some 10,000 messages. What
// a module sends comes in rounds, and not at once.
const bufferSize = 8 << 20

// nonzeroExit, in the kinds of a request, is an exit with another status than 0.
const nonzeroExit = 0x20000000

// Server hands messages to the programs that are connected to a socket. To them
// the socket is as one of the connector: they subscribe with the same request,
// get the same answer, and each packet is a netlink message. Only socket() and
// bind() differ.
//
// Its methods may be called from several goroutines at once.
type Server struct {
	listener net.Listener
	dropped  atomic.Uint64
	wanted   func(bool) // or nil

	// turn is held while it changes whether anybody listens, which wanted is told. It
	// comes before mu.
	turn sync.Mutex

	mu        sync.Mutex // guards what follows, and keeps the order of packets
	listeners map[*listener]bool
	closed    bool
	last      uint32 // number of the last message of processor 0
	serving   sync.WaitGroup
}

// listener is a connected program.
type listener struct {
	net.Conn

	raw       syscall.RawConn
	listening bool // it has subscribed
	kinds     uint32
}

// NewServer returns a server of a socket, which it then owns. Its network must
// be unixpacket. wanted, if it is not nil, is told when the first program subscribes,
// before that gets its answer, and when none is left that has; it has begun with none.
func NewServer(l net.Listener, wanted func(bool)) *Server {
	return &Server{listener: l, wanted: wanted, listeners: map[*listener]bool{}, last: ^uint32(0)}
}

// Serve lets programs connect until Close is called. It returns nil then.
func (s *Server) Serve() error {
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		s.admit(c)
	}
}

// admit begins to serve a program, unless there are too many.
func (s *Server) admit(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &listener{Conn: c}
	var err error
	if u, ok := c.(*net.UnixConn); ok {
		l.raw, err = u.SyscallConn()
	}
	if err != nil || l.raw == nil || s.closed || len(s.listeners) >= maxListeners {
		c.Close()
		return
	}
	failed := l.raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bufferSize) != nil {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, bufferSize) // as much as this user may have
		}
	})
	if err != nil || failed != nil {
		c.Close()
		return
	}
	s.listeners[l] = true
	s.serving.Go(func() { s.serve(l) })
}

// serve answers the requests of a program until it is gone.
func (s *Server) serve(l *listener) {
	b := make([]byte, MaxMessage)
	for {
		n, err := l.Read(b)
		if err != nil || n == 0 {
			break
		}
		s.request(l, b[:n])
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	s.mu.Lock()
	delete(s.listeners, l)
	l.Close()
	s.mu.Unlock()
	if l.listening && !s.heard() {
		s.want(false)
	}
}

// heard reports whether any program has subscribed. Callers hold turn.
func (s *Server) heard() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		if l.listening {
			return true
		}
	}
	return false
}

func (s *Server) want(yes bool) {
	if s.wanted != nil {
		s.wanted(yes)
	}
}

// request does what cn_proc_mcast_ctl() does. The kernel answers no request that
// it cannot read.
func (s *Server) request(l *listener, b []byte) {
	if len(b) < headerLen+cnLen || binary.NativeEndian.Uint32(b) > uint32(len(b)) {
		return
	}
	cn := b[headerLen:]
	data := cn[cnLen:]
	n := int(binary.NativeEndian.Uint16(cn[16:]))
	if binary.NativeEndian.Uint32(cn) != idxProc || binary.NativeEndian.Uint32(cn[4:]) != valProc || n > len(data) || n != 4 && n != 8 {
		return
	}
	kinds := ^uint32(0)
	if n == 8 { // since Linux 6.6
		if k := binary.NativeEndian.Uint32(data[4:]); k != 0 {
			kinds = k
		}
	}
	op, number := binary.NativeEndian.Uint32(data), binary.NativeEndian.Uint32(cn[12:])
	s.turn.Lock()
	defer s.turn.Unlock()
	before := s.heard()
	if op == listen && !before {
		s.want(true)
	}
	s.set(l, op, kinds, number+1)
	if before && !s.heard() {
		s.want(false)
	}
}

// set carries a request out, and answers it: no message comes before the answer.
func (s *Server) set(l *listener, op, kinds, ack uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errno unix.Errno
	switch op {
	case listen:
		l.listening, l.kinds = true, kinds
	case ignore:
		l.listening = false
	default:
		errno = unix.EINVAL
	}
	s.answer(l, ack, errno)
}

// answer answers a request. It has the number of the message before it: the
// messages of the module are counted in the kernel, where nothing is known of it.
func (s *Server) answer(l *listener, ack uint32, errno unix.Errno) {
	var m [messageLen]byte
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // which every kernel has
	binary.NativeEndian.PutUint32(m[0:], idxProc)
	binary.NativeEndian.PutUint32(m[4:], valProc)
	binary.NativeEndian.PutUint32(m[8:], s.last)
	binary.NativeEndian.PutUint32(m[12:], ack)
	binary.NativeEndian.PutUint16(m[16:], messageLen-cnLen)
	binary.NativeEndian.PutUint64(m[cnLen+8:], uint64(now.Nano()))
	binary.NativeEndian.PutUint32(m[cnLen+eventLen:], uint32(errno))
	s.write(l, packet(m[:]))
}

// packet puts the header of a netlink message before a message.
func packet(message []byte) []byte {
	b := make([]byte, headerLen, headerLen+len(message))
	binary.NativeEndian.PutUint32(b, uint32(headerLen+len(message)))
	binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
	copy(b[8:12], message[8:12]) // the same number
	return append(b, message...)
}

// Send hands a message to those that have subscribed to its kind. It never waits:
// one that reads slowly misses messages, and sees that by their numbers. What has
// another length than [messageLen] is no message, and is left out.
func (s *Server) Send(message []byte) {
	if len(message) != messageLen {
		return
	}
	event := message[cnLen:]
	what, code := binary.NativeEndian.Uint32(event), binary.NativeEndian.Uint32(event[eventLen+8:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if binary.NativeEndian.Uint32(event[4:]) == 0 {
		s.last = binary.NativeEndian.Uint32(message[8:])
	}
	var b []byte
	for l := range s.listeners {
		if l.listening && (l.kinds&what != 0 || l.kinds&nonzeroExit != 0 && What(what) == Exit && code != 0) {
			if b == nil {
				b = packet(message)
			}
			s.write(l, b)
		}
	}
}

func (s *Server) write(l *listener, b []byte) {
	var err error
	failed := l.raw.Control(func(fd uintptr) {
		err = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil)
	})
	if errors.Is(err, unix.EAGAIN) && failed == nil {
		s.dropped.Add(1)
	}
}

// Dropped returns how many packets found no room in the buffer of a program.
func (s *Server) Dropped() uint64 { return s.dropped.Load() }

// Close ends the server and its connections.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
	return err
}
