package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module/host"
)

// limits are what a client may take, so that it costs the others nothing.
type limits struct {
	// A header that does not end, a body that does not arrive, an answer that
	// is not read and a connection on which nothing happens are given up.
	header, body, idle time.Duration

	conns   int // a user may have at a time; no user can use up those of another
	kept    int // connections beyond, for the procedures that are kept back
	streams int // a user may have at a time
	buffer  int // bytes of lines that wait for the client of a stream, but for the last line
	export  int // bytes of items that wait for a collector
	logs    int // bytes of items that wait for a log's disk
	ring    int // bytes of items for streams that are cut

	comeBack time.Duration // how long a stream that was cut is waited for

	user, readers usage // by requests under way, of a user and of all that only read
}

var defaultLimits = limits{
	header: 5 * time.Second, body: 30 * time.Second, idle: time.Minute,
	conns: 64, kept: 8, streams: 32, buffer: 1 << 20, export: 8 << 20, logs: 32 << 20, ring: 16 << 20,
	comeBack: 2 * time.Minute,
	user:     usage{64, 64 << 20}, readers: usage{256, 128 << 20},
}

const (
	maxHeader = 16 << 10
	maxBody   = 64 << 10                       // of requests that have none to speak of
	maxLoad   = host.MaxFileSize/3*4 + maxBody // of a request with one: JSON has it in base64

	// Of a connection by HTTP/2: requests at a time, and bytes that were not
	// read yet, of one and of all.
	maxConcurrent, maxStreamBuffer, maxConnBuffer = 40, 128 << 10, 256 << 10

	farewell = 2 * time.Second // for requests that are under way at the end
)

// procedure is what a request for it may take.
type procedure struct {
	change bool  // it is more than reading
	kept   bool  // it is answered also where its user has used up everything else
	body   int64 // bytes; 0 stands for maxBody
	answer int64 // bytes of memory to make the answer; 0 stands for maxBody
}

// procedures are those that differ from the zero value.
var procedures = map[string]procedure{
	api.DaemonLoadProcedure:    {change: true, body: maxLoad},
	api.DaemonUnloadProcedure:  {change: true, kept: true},
	api.DaemonListProcedure:    {kept: true},
	api.DaemonStatusProcedure:  {kept: true},
	api.DaemonInfoProcedure:    {answer: 8 << 20}, // of variables: see module.MaxGlobals
	api.DaemonParamsProcedure:  {answer: 8 << 20},
	api.DaemonGlobalsProcedure: {answer: 8 << 20},

	api.DaemonMapProcedure:            {answer: 32 << 20}, // see module.MaxMapBytes
	api.DaemonSetMapEntryProcedure:    {change: true},
	api.DaemonDeleteMapEntryProcedure: {change: true},
}

// need returns what a request takes while it is under way.
func (p *procedure) need(r *http.Request) usage {
	body := cmp.Or(p.body, maxBody)
	if r.ContentLength >= 0 {
		body = min(body, r.ContentLength)
	}
	return usage{1, body + cmp.Or(p.answer, maxBody)}
}

// newServer returns the server of the interface.
func (d *Daemon) newServer() *http.Server {
	mux := http.NewServeMux()
	path, handler := api.NewDaemonHandler(&service{d},
		connect.WithCompression("gzip", nil, nil), // a few bytes of it are gigabytes
		connect.WithInterceptors(connect.UnaryInterceptorFunc(d.untimed)),
		connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			p := procedures[spec.Procedure]
			return []connect.HandlerOption{connect.WithReadMaxBytes(int(cmp.Or(p.body, maxBody)))}
		}))
	mux.Handle(path, handler)
	mux.HandleFunc("GET /events", d.serveEvents)
	reflector := grpcreflect.NewStaticReflector(api.DaemonName)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, connect.WithCompression("gzip", nil, nil), connect.WithReadMaxBytes(maxBody)))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, connect.WithCompression("gzip", nil, nil), connect.WithReadMaxBytes(maxBody)))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   d.guard(mux),
		Protocols: protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxConcurrent, MaxReceiveBufferPerStream: maxStreamBuffer, MaxReceiveBufferPerConnection: maxConnBuffer,
		},
		ReadHeaderTimeout: d.limits.header,
		IdleTimeout:       d.limits.idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c, ok := c.(*conn); ok {
				ctx = context.WithValue(ctx, connKey{}, c)
				return context.WithValue(ctx, peerKey{}, c.peer)
			}
			return ctx
		},
	}
}

// guard lets in who may, before anything of a request's body is read, and
// bounds what it takes: size, time and memory.
func (d *Daemon) guard(next http.Handler) http.Handler {
	errs := connect.NewErrorWriter()
	requests := &budget{user: d.limits.user, readers: d.limits.readers, patience: d.limits.header}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, peer := procedures[r.URL.Path], peerFrom(r.Context())
		reject := func(code connect.Code, status int, err error) {
			d.log.Warn("request rejected", "path", r.URL.Path, "error", err, "uid", peer.uid, "pid", peer.pid)
			if r.ProtoMajor == 1 || isKept(r.Context()) {
				w.Header().Set("Connection", "close") // with a body that nobody will read
			}
			if r.ProtoMajor > 1 {
				// A client that is still sending when it gets the answer may
				// not look at it (curl); let it send what is little.
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.limits.header))
				_, _ = io.CopyN(io.Discard, r.Body, maxBody)
			}
			if errs.IsSupported(r) {
				_ = errs.Write(w, r, connect.NewError(code, err))
			} else {
				http.Error(w, err.Error(), status)
			}
		}
		if err := d.access.check(peer, p.change); err != nil {
			reject(connect.CodePermissionDenied, http.StatusForbidden, err)
			return
		}
		if err := checkEncoding(r.Header); err != nil {
			reject(connect.CodeUnimplemented, http.StatusUnsupportedMediaType, err)
			return
		}
		trusted := d.access.mayChange(peer)
		switch {
		case trusted && p.kept:
		case isKept(r.Context()):
			err := fmt.Errorf("user %d has %d connections, which is all there may be; only Unload, List and Status are answered", peer.uid, d.limits.conns)
			reject(connect.CodeResourceExhausted, http.StatusTooManyRequests, err)
			return
		default:
			leave, err := requests.enter(r.Context(), peer.uid, !trusted, p.need(r))
			if err != nil {
				reject(connect.CodeResourceExhausted, http.StatusTooManyRequests, err)
				return
			}
			defer leave()
			r = r.WithContext(context.WithValue(r.Context(), leaveKey{}, leave))
		}
		r.Body = http.MaxBytesReader(w, r.Body, cmp.Or(p.body, maxBody))
		deadlines := http.NewResponseController(w)
		at := time.Now().Add(d.limits.body)
		if err := errors.Join(deadlines.SetReadDeadline(at), deadlines.SetWriteDeadline(at)); err != nil {
			d.log.Debug("the deadline of a request cannot be set", "error", err)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), controllerKey{}, deadlines)))
	})
}

// checkEncoding rejects compressed requests, in the words of each protocol:
// what they unpack to has no bound that is known before.
func checkEncoding(h http.Header) error {
	for _, name := range []string{"Content-Encoding", "Connect-Content-Encoding", "Grpc-Encoding"} {
		for _, value := range h.Values(name) {
			if value != "" && value != "identity" {
				return fmt.Errorf("compressed requests (%s: %.20q) are not taken; send it as it is", name, value)
			}
		}
	}
	return nil
}

type (
	controllerKey struct{} // of a request's http.ResponseController
	leaveKey      struct{} // of what gives back its part of the budget
	connKey       struct{} // of its connection
)

// isKept reports whether a request came by a connection that is kept back.
func isKept(ctx context.Context) bool {
	c, ok := ctx.Value(connKey{}).(*conn)
	return ok && c.kept
}

// endless takes the deadlines off a request whose answer is a stream, which
// has bounds of its own.
func endless(ctx context.Context) {
	if leave, ok := ctx.Value(leaveKey{}).(func()); ok {
		leave()
	}
	unhurried(ctx)
}

// unhurried takes the deadlines off a request, and returns what may set others;
// nil if there is nothing.
func unhurried(ctx context.Context) *http.ResponseController {
	c, ok := ctx.Value(controllerKey{}).(*http.ResponseController)
	if ok {
		_ = c.SetReadDeadline(time.Time{})
		_ = c.SetWriteDeadline(time.Time{})
	}
	return c
}

// untimed takes the deadlines off a call whose request has been read: they are
// for clients that are slow, and not for a machine that takes long to verify a
// module. The answer has a deadline of its own.
func (d *Daemon) untimed(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		c := unhurried(ctx)
		answer, failure := next(ctx, req)
		if c != nil {
			if err := c.SetWriteDeadline(time.Now().Add(d.limits.body)); err != nil {
				d.log.Debug("the deadline of an answer cannot be set", "error", err)
			}
		}
		return answer, failure
	}
}

// serve serves until ctx ends, and then until the requests under way have.
func (d *Daemon) serve(ctx context.Context) error {
	server := d.newServer()
	ended := make(chan error, 1)
	go func() {
		ended <- server.Serve(&conns{Listener: d.socket.Listener, limits: d.limits, trusted: d.access.mayChange, total: maxConns(), log: d.log})
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	err := server.Shutdown(late)
	if errors.Is(err, context.DeadlineExceeded) {
		d.log.Warn("some clients were disconnected")
		err = server.Close()
	}
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
