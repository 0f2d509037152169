package ui

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/enrich"
)

// Config says what is shown. Either File or Daemon is set.
type Config struct {
	File   string         // the path of a recording, which may be growing
	Daemon *daemon.Client // the caller closes it

	// Fields are the optional fields to request from the daemon, for
	// expressions. For recordings they have no effect.
	Fields taskwatch.Fields

	// ContainerNames looks up the names of containers for what the daemon sees; nil
	// leaves them unknown. For recordings it has no effect.
	ContainerNames *enrich.Names

	// OnUsed is called when a link has been used, so that the caller can show
	// another one. It may be nil.
	OnUsed func()
}

// Server serves the pages. It is made by [New].
type Server struct {
	cfg    Config
	limits limits
	keys   keys
	mux    *http.ServeMux
	feed   *feed // of a daemon, or nil

	slots chan struct{} // one for each stream
}

// limits are the limits for browsers.
type limits struct {
	streams  int           // at a time: a browser has six connections to a server
	conns    int           // at a time
	patience time.Duration // for a browser that does not read
	header   time.Duration
	history  int // bytes of lines from a daemon
}

// History is how many bytes of lines from a daemon are kept.
const History = 32 << 20

var defaultLimits = limits{streams: 5, conns: 32, patience: time.Minute, header: 10 * time.Second, history: History}

// New returns a server. For a file it needs the right to read it. For a daemon,
// call [Server.Connect] next.
func New(cfg Config) (*Server, error) { return newServer(cfg, defaultLimits) }

func newServer(cfg Config, l limits) (*Server, error) {
	if (cfg.File == "") == (cfg.Daemon == nil) {
		return nil, errors.New("ui: set one of Config.File and Config.Daemon")
	}
	s := &Server{cfg: cfg, limits: l, mux: http.NewServeMux(), slots: make(chan struct{}, l.streams)}
	if cfg.File != "" {
		f, err := openTape(cfg.File)
		if err != nil {
			return nil, err
		}
		_ = f.Close() // it was only read
	} else {
		s.feed = newFeed(cfg.Daemon, cfg.Fields, l.history)
	}
	s.mux.HandleFunc("GET /{$}", servePage)
	s.mux.HandleFunc("GET /page/{name}", serveFile)
	s.mux.HandleFunc("GET /timeline/{name}", serveTimelineFile)
	s.mux.HandleFunc("GET /api/about", s.about)
	s.mux.HandleFunc("GET /api/filter", s.checkFilter)
	s.mux.HandleFunc("GET /api/lines", s.lines)
	if cfg.Daemon != nil {
		s.mux.HandleFunc("GET /api/processes", s.processes)
		s.mux.HandleFunc("GET /api/stock/{name}", serveStock)
		s.mux.HandleFunc("POST /api/daemon/{procedure}", s.call)
	}
	return s, nil
}

// handler returns the handler of all requests. The package comment says what it
// checks.
func (s *Server) handler() http.Handler { return s.guard(s.mux) }

// Listen listens at an address of the loopback interface. Other addresses are an
// error, because the pages are for one user of this machine. Port 0 means any
// free port.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: give a host and a port, such as 127.0.0.1:0", addr)
	}
	if !isLoopback(host) {
		return nil, fmt.Errorf("address %q: only the loopback interface is allowed, such as 127.0.0.1:0; 'ssh -L' brings the page to another machine", addr)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w; choose another port, or 0 for any", addr, err)
	}
	return l, nil
}

// isLoopback reports whether a host is the loopback interface, by number or as
// localhost, the only name that cannot lead elsewhere.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Connect opens the stream of the daemon's events, until ctx ends. It fails if no
// daemon answers or the user may not read. For a file it does nothing.
func (s *Server) Connect(ctx context.Context) error {
	if s.feed == nil {
		return nil
	}
	return s.feed.connect(ctx)
}

// Serve serves until ctx ends, and returns nil, or an error if it ended earlier.
// It closes the listener. For a daemon, call Connect before.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	if s.feed != nil {
		wg.Go(func() { s.feed.run(ctx) })
	}
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: s.limits.header,
		ReadTimeout:       s.limits.patience,
		IdleTimeout:       s.limits.patience,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // streams would go on
	defer stop()
	if err := server.Serve(&bounded{Listener: l, slots: make(chan struct{}, s.limits.conns), done: ctx.Done()}); ctx.Err() == nil {
		return err
	}
	return nil
}

// bounded is a listener with a limited number of connections. Further ones wait.
type bounded struct {
	net.Listener
	slots chan struct{}
	done  <-chan struct{}
}

func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.slots <- struct{}{}:
	case <-b.done:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	return &boundedConn{c, sync.OnceFunc(func() { <-b.slots })}, nil
}

type boundedConn struct {
	net.Conn
	release func()
}

func (c *boundedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
