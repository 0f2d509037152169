package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// limits are what a client may take, so that it costs the others nothing.
type limits struct {
	// A header that does not end, a body that does not arrive, an answer that
	// is not read and a connection on which nothing happens are given up.
	header, body, idle time.Duration

	conns   int // a user may have at a time; no user can use up those of another
	streams int // likewise
	buffer  int // bytes of lines that wait for the client of a stream, but for the last line
}

var defaultLimits = limits{
	header: 5 * time.Second, body: 30 * time.Second, idle: time.Minute,
	conns: 64, streams: 32, buffer: 1 << 20,
}

const (
	maxHeader = 16 << 10
	maxBody   = 64 << 10 // of requests that have none to speak of
	maxFile   = max(kernel.MaxObjectSize, wasm.MaxModuleSize)
	maxLoad   = maxFile/3*4 + maxBody // of a request with one: JSON has it in base64

	farewell = 2 * time.Second // for requests that are under way at the end
)

// changes are the procedures that are more than reading.
var changes = map[string]bool{
	api.DaemonLoadProcedure:   true,
	api.DaemonUnloadProcedure: true,
}

// newServer returns the server of the interface.
func (d *Daemon) newServer() *http.Server {
	mux := http.NewServeMux()
	path, handler := api.NewDaemonHandler(&service{d}, connect.WithReadMaxBytes(maxLoad))
	mux.Handle(path, handler)
	mux.HandleFunc("GET /events", d.serveEvents)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           d.guard(mux),
		Protocols:         protocols,
		ReadHeaderTimeout: d.limits.header,
		IdleTimeout:       d.limits.idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c, ok := c.(*conn); ok {
				return context.WithValue(ctx, peerKey{}, c.peer)
			}
			return ctx
		},
	}
}

// guard lets in who may, before anything of a request's body is read, and
// bounds its size and its time.
func (d *Daemon) guard(next http.Handler) http.Handler {
	errs := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		change := changes[r.URL.Path]
		if err := d.access.check(peerFrom(r.Context()), change); err != nil {
			d.log.Warn("request refused", "path", r.URL.Path, "error", err, "pid", peerFrom(r.Context()).pid)
			if r.ProtoMajor == 1 {
				w.Header().Set("Connection", "close") // with a body that nobody will read
			} else {
				// A client that is still sending when it gets the answer may
				// not look at it (curl); let it send what is little.
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.limits.header))
				_, _ = io.CopyN(io.Discard, r.Body, maxBody)
			}
			if errs.IsSupported(r) {
				_ = errs.Write(w, r, connect.NewError(connect.CodePermissionDenied, err))
			} else {
				http.Error(w, err.Error(), http.StatusForbidden)
			}
			return
		}
		size := int64(maxBody)
		if r.URL.Path == api.DaemonLoadProcedure {
			size = maxLoad
		}
		r.Body = http.MaxBytesReader(w, r.Body, size)
		deadlines := http.NewResponseController(w)
		at := time.Now().Add(d.limits.body)
		if err := errors.Join(deadlines.SetReadDeadline(at), deadlines.SetWriteDeadline(at)); err != nil {
			d.log.Debug("no deadline for a request", "error", err)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), controllerKey{}, deadlines)))
	})
}

// controllerKey is the key of a request's http.ResponseController.
type controllerKey struct{}

// endless takes the deadlines off a request whose answer is a stream.
func endless(ctx context.Context) {
	if c, ok := ctx.Value(controllerKey{}).(*http.ResponseController); ok {
		_ = c.SetReadDeadline(time.Time{})
		_ = c.SetWriteDeadline(time.Time{})
	}
}

// serve serves until ctx ends, and then until the requests under way have.
func (d *Daemon) serve(ctx context.Context) error {
	server := d.newServer()
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(&conns{Listener: d.socket.Listener, limit: d.limits.conns, log: d.log}) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	err := server.Shutdown(late)
	if errors.Is(err, context.DeadlineExceeded) {
		d.log.Warn("some clients had to be cut off")
		err = server.Close()
	}
	if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}
